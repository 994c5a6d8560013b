//! A real `PostgreSQL` server at its defaults, durable, in a directory of its own.
//!
//! It listens on a Unix socket there, so there is no port to choose; it runs as `postgres` where we are root, which the
//! server refuses to be; it ends, and its directory goes, when its value does.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Outcome;
use super::guard::Guard;

const READY: Duration = Duration::from_mins(1);
const OWNER: &str = "tollgate";

/// `$1` is where the programs are, `$2` the directory. Until the server is there the trap answers for it: it must not
/// start once it was told to end.
const RUN: &str = r#"
trap 'exit 1' TERM
binaries=$1 directory=$2
cd "$directory" || exit 1
"$binaries/initdb" --no-sync --auth=trust --encoding=UTF8 --locale=C -U tollgate -D data >initdb.log || exit 1
exec "$binaries/postgres" -D data -k "$directory" -c listen_addresses=
"#;

/// A running server.
pub struct Server {
    binaries: PathBuf,
    directory: PathBuf,
    /// What goes before a command to run it as somebody who is not root.
    as_user: Vec<OsString>,
    next: AtomicU32,
    _guard: Guard,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let binaries = binaries()?;
        let directory = tempfile::Builder::new().prefix("tollgate-pg-").tempdir()?.keep();
        let as_user = unprivileged(&directory)?;
        let mut program = as_user.clone();
        program.extend(["sh", "-c", RUN, "postgres"].map(OsString::from));
        program.extend([binaries.clone().into(), directory.clone().into()]);
        let guard = Guard::start(&program, "TERM", Some(&directory))?;
        guard.wait_for_line(READY, |line| {
            line.ends_with("ready to accept connections").then_some(())
        })?;
        Ok(Self {
            binaries,
            directory,
            as_user,
            next: AtomicU32::new(1),
            _guard: guard,
        })
    }

    /// A new and empty database; its URL.
    pub fn new_database(&self) -> Outcome<String> {
        let name = format!("bench_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut command = command(&self.as_user, &self.binaries.join("createdb"));
        command.arg("-h").arg(&self.directory).args(["-U", OWNER]);
        let output = command
            .args(["-T", "template0", &name])
            .current_dir(&self.directory)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let directory = self.directory.display().to_string().replace('/', "%2F");
        Ok(format!("postgres://{OWNER}@localhost/{name}?host={directory}"))
    }
}

fn command(as_user: &[OsString], program: &Path) -> Command {
    match as_user.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Where we are root, gives `directory` to the user `postgres` and returns how to become it; else nothing.
fn unprivileged(directory: &Path) -> Outcome<Vec<OsString>> {
    if id(&["-u"]) != Some(0) {
        return Ok(Vec::new());
    }
    let (Some(user), Some(group)) = (id(&["-u", "postgres"]), id(&["-g", "postgres"])) else {
        return Err("as root, PostgreSQL needs the user postgres (Debian: postgresql-common)".into());
    };
    chown(directory, Some(user), Some(group))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    let user = format!("--reuid={user}");
    let group = format!("--regid={group}");
    Ok(["setpriv", &user, &group, "--clear-groups", "--"]
        .map(OsString::from)
        .into())
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The newest version that Debian keeps beside the others, or what is on the PATH.
fn binaries() -> Outcome<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let numbered = versions.filter_map(|entry| {
        let version = entry.file_name().to_str()?.parse::<u32>().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let debian = numbered
        .filter(|(_, path)| path.join("initdb").is_file())
        .max_by_key(|(version, _)| *version)
        .map(|(_, path)| path);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|path| path.join("initdb").is_file())
    };
    debian
        .or_else(on_path)
        .ok_or_else(|| "there is no PostgreSQL: install the Debian package postgresql".into())
}

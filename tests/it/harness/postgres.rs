//! One real `PostgreSQL` server for the whole test process, and a fresh database for each test that asks.
//!
//! It listens on a Unix socket in its own directory, so there is no port to choose; it runs as `postgres` where we are root,
//! which the server refuses to be; it ends, and its directory goes, when this process ends.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::guard::Guard;

const READY: Duration = Duration::from_mins(1);
const OWNER: &str = "tollgate";
/// Nothing of a test survives its process, so nothing has to survive a crash.
const SETTINGS: [&str; 6] = [
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
];

/// `$1` is where the programs are, `$2` the directory; the rest is for the server. Until the server is there the trap answers
/// for it: it must not start once it was told to end.
const RUN: &str = r#"
trap 'exit 1' TERM
binaries=$1 directory=$2; shift 2
cd "$directory" || exit 1
"$binaries/initdb" --no-sync --auth=trust --encoding=UTF8 --locale=C -U tollgate -D data >initdb.log || exit 1
exec "$binaries/postgres" -D data -k "$directory" "$@"
"#;

struct Server {
    binaries: PathBuf,
    directory: PathBuf,
    /// What goes before a command to run it as somebody who is not root.
    as_user: Vec<OsString>,
    _guard: Guard,
}

/// A new and empty database; its URL.
pub fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = SERVER.get_or_init(Server::start);
    let name = format!("t_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.run("createdb", &["-T", "template0", &name]);
    let directory = server.directory.display().to_string().replace('/', "%2F");
    format!("postgres://{OWNER}@localhost/{name}?host={directory}")
}

impl Server {
    fn start() -> Self {
        let binaries = binaries();
        let directory = tempfile::Builder::new()
            .prefix("tollgate-pg-")
            .tempdir()
            .unwrap()
            .keep();
        let as_user = unprivileged(&directory);
        let mut program = as_user.clone();
        program.extend(["sh", "-c", RUN, "postgres"].map(OsString::from));
        program.extend([binaries.clone().into(), directory.clone().into()]);
        for setting in SETTINGS {
            program.extend(["-c".into(), setting.into()]);
        }
        let guard = Guard::start(&program, "TERM", Some(&directory));
        guard.wait_for_line(READY, |line| {
            line.ends_with("ready to accept connections").then_some(())
        });
        Self {
            binaries,
            directory,
            as_user,
            _guard: guard,
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = command(&self.as_user, &self.binaries.join(program));
        command.arg("-h").arg(&self.directory).args(["-U", OWNER]);
        command.current_dir(&self.directory);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.client(program).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {told}");
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
fn unprivileged(directory: &Path) -> Vec<OsString> {
    if id(&["-u"]) != Some(0) {
        return Vec::new();
    }
    let (Some(user), Some(group)) = (id(&["-u", "postgres"]), id(&["-g", "postgres"])) else {
        panic!(
            "as root, PostgreSQL needs the user postgres, which the Debian package postgresql-common makes"
        );
    };
    chown(directory, Some(user), Some(group)).unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    let user = format!("--reuid={user}");
    let group = format!("--regid={group}");
    ["setpriv", &user, &group, "--clear-groups", "--"]
        .map(OsString::from)
        .into()
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The newest version that Debian keeps beside the others, or what is on the PATH.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let debian = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, path)| path.join("initdb").is_file())
        .max_by_key(|(version, _)| *version)
        .map(|(_, path)| path);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|path| path.join("initdb").is_file())
    };
    debian
        .or_else(on_path)
        .unwrap_or_else(|| panic!("there is no PostgreSQL: install the Debian package postgresql"))
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    use sqlx::{Connection as _, Executor as _, Row as _};

    let (one, other) = (database(), database());
    assert_ne!(one, other);
    let mut one = sqlx::PgConnection::connect(&one).await.unwrap();
    one.execute("create table only_here (id bigint primary key)")
        .await
        .unwrap();
    let mut other = sqlx::PgConnection::connect(&other).await.unwrap();
    let found = other
        .fetch_one("select count(*) from pg_tables where tablename = 'only_here'")
        .await
        .unwrap();
    assert_eq!(found.get::<i64, _>(0), 0);
}

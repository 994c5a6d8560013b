//! A process that does not outlive the tests.
//!
//! A small `sh` stands between: it starts the program, waits for its own stdin to close, and then ends the program by its
//! pid. The pipe closes when the guard is dropped, and also when the test process is killed, which no destructor survives.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// `$1` is the signal that ends the program, `$2` a directory to remove after it (or nothing); the rest is the program.
const WATCH: &str = r#"
signal=$1 directory=$2; shift 2
"$@" 2>&1 </dev/null &
pid=$!
exec >/dev/null
cat
kill -s "$signal" "$pid" 2>/dev/null
wait "$pid"
[ -z "$directory" ] || rm -rf "$directory"
"#;
const KEPT_LINES: usize = 100;

/// A running program, with the last lines it wrote.
pub struct Guard {
    shell: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Default)]
struct Written {
    lines: VecDeque<String>,
    ended: bool,
}

impl Guard {
    /// Starts `program`. `signal` is the one that ends it, `directory` is removed once it has ended.
    pub fn start<A: AsRef<OsStr>>(program: &[A], signal: &str, directory: Option<&Path>) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", WATCH, "guard", signal])
            .arg(directory.unwrap_or_else(|| Path::new("")))
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Only ever says that the program was killed.
            .stderr(Stdio::null())
            // In a group of its own, so that Ctrl-C ends the tests, and they end it.
            .process_group(0)
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let stdout = shell.stdout.take().unwrap();
        let reader = Arc::clone(&output);
        std::thread::spawn(move || reader.follow(stdout));
        Self { shell, output }
    }

    /// Waits for a line in which `find` finds something.
    pub fn wait_for_line<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let search = |written: &Written| written.lines.iter().find_map(|line| find(line));
        let written = self.output.written.lock().unwrap();
        let waiting = |written: &mut Written| !written.ended && search(written).is_none();
        let (written, _) = self
            .output
            .more
            .wait_timeout_while(written, deadline, waiting)
            .unwrap();
        let found = search(&written);
        drop(written);
        found.unwrap_or_else(|| panic!("not ready in {deadline:?}, or ended:\n{}", self.told()))
    }

    /// Waits until it has closed its output, as it does at its end.
    pub fn wait_for_end(&self, deadline: Duration) {
        let written = self.output.written.lock().unwrap();
        let waiting = |written: &mut Written| !written.ended;
        let (written, _) = self
            .output
            .more
            .wait_timeout_while(written, deadline, waiting)
            .unwrap();
        let ended = written.ended;
        drop(written);
        assert!(ended, "not ended in {deadline:?}:\n{}", self.told());
    }

    /// The last lines it wrote.
    pub fn told(&self) -> String {
        let written = self.output.written.lock().unwrap();
        written
            .lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Output {
    /// Reads to the end: a program whose pipe is full stands still.
    fn follow(&self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let mut written = self.written.lock().unwrap();
            if written.lines.len() == KEPT_LINES {
                written.lines.pop_front();
            }
            written.lines.push_back(line);
            self.more.notify_all();
        }
        self.written.lock().unwrap().ended = true;
        self.more.notify_all();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends once the program has.
        let _ = self.shell.wait();
    }
}

#[test]
fn a_program_ends_with_its_guard_and_its_directory_goes() {
    let directory = tempfile::tempdir().unwrap();
    let guard = Guard::start(
        &["sh", "-c", "echo pid $$; exec sleep 1000"],
        "KILL",
        Some(directory.path()),
    );
    let pid = guard.wait_for_line(Duration::from_secs(10), |line| {
        line.strip_prefix("pid ").map(str::to_owned)
    });
    let alive = || {
        let status = Command::new("kill")
            .args(["-0", &pid])
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    };
    assert!(alive());
    drop(guard);
    assert!(!alive());
    assert!(!directory.path().exists());
}

//! A program that does not outlive the bench.
//!
//! A small `sh` stands between: it starts the program, waits for its own stdin to close, and then ends the program by its
//! pid. The pipe closes when the guard is dropped, and also when the bench is killed, which no destructor survives. The
//! tests have the same; theirs may panic.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Outcome;

/// `$1` is the signal that ends the program, `$2` a directory to remove after it (or nothing); the rest is the program.
const WATCH: &str = r#"
signal=$1 directory=$2; shift 2
"$@" 2>&1 </dev/null &
pid=$!
echo "guard: pid $pid"
cat >/dev/null
kill -s "$signal" "$pid" 2>/dev/null
wait "$pid"
[ -z "$directory" ] || rm -rf "$directory"
"#;

/// A running program.
pub struct Guard {
    shell: Child,
    lines: Receiver<String>,
}

impl Guard {
    /// Starts `program`. `signal` is the one that ends it, `directory` is removed once it has ended.
    pub fn start<A: AsRef<OsStr>>(program: &[A], signal: &str, directory: Option<&Path>) -> Outcome<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", WATCH, "guard", signal])
            .arg(directory.unwrap_or_else(|| Path::new("")))
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Only ever says that the program was killed.
            .stderr(Stdio::null())
            // In a group of its own, so that Ctrl-C ends the bench, and it ends this.
            .process_group(0)
            .spawn()?;
        let stdout = shell.stdout.take();
        let (sender, lines) = channel();
        // Reads to the end: a program whose pipe is full stands still. Nobody may be listening any more.
        std::thread::spawn(move || {
            let lines = stdout.map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            lines
                .into_iter()
                .flatten()
                .for_each(|line| drop(sender.send(line)));
        });
        Ok(Self { shell, lines })
    }

    /// Waits for a line in which `find` finds something; the lines before it are forgotten.
    pub fn wait_for_line<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> Outcome<T> {
        let end = Instant::now() + deadline;
        let mut told = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match find(&line) {
                    Some(found) => return Ok(found),
                    None => told.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("not ready in {deadline:?}:\n{}", told.join("\n")).into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended:\n{}", told.join("\n")).into());
                }
            }
        }
    }

    /// The program's process id; the first thing to ask.
    pub fn pid(&self) -> Outcome<u32> {
        self.wait_for_line(Duration::from_secs(10), |line| {
            line.strip_prefix("guard: pid ")?.parse().ok()
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends once the program has.
        let _ended = self.shell.wait();
    }
}

//! Programs that do not outlive the demo.
//!
//! A small `sh` stands between: it starts the program, and ends it when its own stdin closes. The pipe closes when the
//! [`Process`] is dropped, and also when the demo is killed, which no destructor survives.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::sync::watch;

use crate::failure::{Failure, Outcome};

/// `$1` is the signal that ends the program for good; the rest is the program. Each line of stdin is one signal more.
const WATCH: &str = r#"
last=$1; shift
sh -c 'echo "pid $$"; exec "$@"' sh "$@" 2>&1 </dev/null &
pid=$!
exec >/dev/null
while read -r signal; do kill -s "$signal" "$pid"; done
kill -s "$last" "$pid"
wait "$pid"
"#;

/// What a program needs of our environment. Settings of the service in it are the user's own, and no part of the demo.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"];

const KEPT_LINES: usize = 200;

/// What a program wrote last.
#[derive(Default)]
struct Output {
    lines: VecDeque<String>,
    ended: bool,
}

/// A running program. Dropping it kills it, and waits until it is dead.
pub struct Process {
    name: &'static str,
    shell: Child,
    output: watch::Receiver<Output>,
}

impl Process {
    /// Starts a program in a directory. `last_signal` is the one that ends it for good.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        directory: &Path,
        last_signal: &str,
    ) -> Outcome<Self> {
        let environment = ENVIRONMENT
            .iter()
            .filter_map(|key| Some((key, std::env::var_os(key)?)));
        let mut shell = Command::new("sh")
            .args(["-c", WATCH, "guard", last_signal])
            .arg(program)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It only ever says that the program was killed.
            .stderr(Stdio::null())
            // In a group of its own, so that Ctrl-C ends the demo, and the demo ends it.
            .process_group(0)
            .spawn()?;
        let stdout = shell.stdout.take();
        let (sender, output) = watch::channel(Output::default());
        if let Some(stdout) = stdout {
            std::thread::spawn(move || follow(stdout, &sender));
        }
        Ok(Self { name, shell, output })
    }

    /// Waits for a line in which `find` finds something.
    pub async fn line<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> Outcome<T> {
        let search = |output: &Output| output.lines.iter().find_map(|line| find(line));
        let mut receiver = self.output.clone();
        let waiting = receiver.wait_for(|output| output.ended || search(output).is_some());
        let found = match tokio::time::timeout(deadline, waiting).await {
            Ok(Ok(output)) => search(&output),
            Ok(Err(_)) | Err(_) => None,
        };
        found.ok_or_else(|| {
            let (name, told) = (self.name, self.told(20));
            Failure(format!(
                "{name} ended, or was not ready in {deadline:?}; its last words:\n{told}"
            ))
        })
    }

    /// The program's process id.
    pub async fn id(&self) -> Outcome<u32> {
        let of_line = |line: &str| line.strip_prefix("pid ")?.parse().ok();
        self.line(Duration::from_secs(10), of_line).await
    }

    /// The last lines that it wrote.
    pub fn told(&self, lines: usize) -> String {
        let output = self.output.borrow();
        let skipped = output.lines.len().saturating_sub(lines);
        let last: Vec<&str> = output.lines.iter().skip(skipped).map(String::as_str).collect();
        last.join("\n")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.output.borrow().ended
    }

    /// Asks it to end (SIGTERM), and kills it after the deadline. Says whether it ended by itself.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        if let Some(stdin) = &mut self.shell.stdin {
            // An error says that the guard has gone, and with it the program.
            let _ = stdin.write_all(b"TERM\n");
        }
        let mut receiver = self.output.clone();
        let ended = tokio::time::timeout(deadline, receiver.wait_for(|output| output.ended)).await;
        ended.is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends once the program has.
        let _ = self.shell.wait();
    }
}

/// Reads to the end: a program whose pipe is full stands still.
fn follow(stdout: ChildStdout, output: &watch::Sender<Output>) {
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        output.send_modify(|output| {
            if output.lines.len() == KEPT_LINES {
                output.lines.pop_front();
            }
            output.lines.push_back(line);
        });
    }
    output.send_modify(|output| output.ended = true);
}

//! What is measured, in a process of its own: this same program, told its job in one line of JSON on standard input, and
//! telling its result in one on standard output. It ends when that input closes, so it does not outlive the bench.

use std::io::{BufRead as _, Read as _};
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;

use super::{Outcome, history, payments};

/// The first argument of a child; the second is its job.
pub const ARGUMENT: &str = "child";

/// As the service makes its own.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Has a child do `job`, and waits for its result.
pub async fn run<T: DeserializeOwned>(job: &str, input: &impl Serialize) -> Outcome<T> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args([ARGUMENT, job])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("a child has no input")?;
    let mut line = serde_json::to_string(input)?;
    line.push('\n');
    stdin.write_all(line.as_bytes()).await?;
    let output = child.wait_with_output().await?;
    drop(stdin);
    if !output.status.success() {
        return Err(format!("the child {job} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child's side.
pub fn main(job: Option<&str>) -> Outcome {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _closed = std::io::stdin().lock().read_to_end(&mut rest);
        std::process::exit(1);
    });
    tollgate::egress::install_crypto_provider();
    let runtime = runtime()?;
    let result = match job {
        Some(history::FETCH) => runtime.block_on(history::fetch(&line))?,
        Some(history::FOLD) => runtime.block_on(history::fold(&line))?,
        Some(payments::JOB) => runtime.block_on(payments::child(&line))?,
        _ => return Err("a child without a job".into()),
    };
    println!("{result}");
    Ok(())
}

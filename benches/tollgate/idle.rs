//! `idle_memory`: what the service takes that has nothing to do but follow a quiet chain: the real program, all rooms, on
//! `SQLite`.

use std::time::{Duration, Instant};

use super::anvil::{Anvil, http_client};
use super::guard::Guard;
use super::proc;
use super::report::{Line, round};
use super::{Outcome, Size, scratch};

const READY: Duration = Duration::from_secs(30);

pub async fn run(size: Size) -> Outcome {
    let anvil = Anvil::start(&["--block-time", "1"]).await?;
    let accounts = anvil.accounts().await?;
    let [owner, treasury, ..] = accounts.as_slice() else {
        return Err("anvil has too few accounts".into());
    };
    let usdc = anvil.deploy(*owner, "TestUSDC").await?;
    let directory = scratch::directory()?;
    let (configuration, database) = (
        directory.path().join("bench.toml"),
        directory.path().join("bench.sqlite"),
    );
    let text = format!(
        r#"chain_files = ["anvil"]
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
[store]
url = "sqlite://{database}"
[chains.anvil]
treasury = "{treasury}"
[[chains.anvil.tokens]]
address = "{usdc}"
symbol = "USDC"
decimals = 6
[[chains.anvil.endpoints]]
name = "anvil"
operator = "local"
ws = "{ws}"
http = "{http}"
requests_per_second = 1000
"#,
        database = database.display(),
        ws = anvil.ws_url(),
        http = anvil.http_url(),
    );
    std::fs::write(&configuration, text)?;
    let program = [
        env!("CARGO_BIN_EXE_tollgate").as_ref(),
        "--config".as_ref(),
        configuration.as_os_str(),
        "run".as_ref(),
    ];
    let service = Guard::start(&program, "TERM", None)?;
    let pid = service.pid()?.to_string();
    let api = service.wait_for_line(READY, |line| {
        let (_, rest) = line.split_once("api=")?;
        rest.split_whitespace().next().map(str::to_owned)
    })?;
    until_ready(&api).await?;
    tokio::time::sleep(Duration::from_secs(size.pick(5, 30))).await;
    until_ready(&api).await?;
    let line = Line {
        bench: "idle_memory",
        value: round(proc::rss_mb(&pid)?, 1),
        unit: "MB",
        peak_rss_mb: Some(round(proc::peak_rss_mb(&pid)?, 1)),
        store: Some("sqlite"),
        ..Line::default()
    };
    line.print()
}

async fn until_ready(api: &str) -> Outcome {
    let client = http_client()?;
    let end = Instant::now() + READY;
    loop {
        let answer = client.get(format!("http://{api}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("the service was not ready in {READY:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

//! A real Prometheus for one test, and promtool: those of the Debian package `prometheus`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guard::Guard;
use super::{http_client, repository};

const READY: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// A running Prometheus with the shipped alerts. Dropping it ends it.
pub struct Prometheus {
    address: SocketAddr,
    http: reqwest::Client,
    guard: Guard,
}

impl Prometheus {
    /// Starts one that scrapes `target` and evaluates the alerts, both each second.
    pub fn start(target: SocketAddr) -> Self {
        let program = program("prometheus");
        let directory = tempfile::Builder::new()
            .prefix("tollgate-prometheus-")
            .tempdir()
            .unwrap()
            .keep();
        let alerts = repository("config/alerts.yml");
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [alerts],
            "scrape_configs": [{"job_name": "tollgate", "static_configs": [{"targets": [target.to_string()]}]}],
        });
        // JSON is YAML.
        let path = directory.join("prometheus.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let command = [
            program.display().to_string(),
            format!("--config.file={}", path.display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ];
        let guard = Guard::start(&command, "KILL", Some(&directory));
        let address = guard.wait_for_line(READY, |line| {
            let rest = line.split_once(r#"msg="Listening on""#)?.1;
            let address = rest.split_once("address=")?.1;
            address.split_whitespace().next()?.parse().ok()
        });
        Self {
            address,
            http: http_client(),
            guard,
        }
    }

    /// The data of an answer of its HTTP API, or its error.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut url = url::Url::parse(&format!("http://{}/api/v1/{path}", self.address)).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let mut body: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match body["status"].as_str() {
            Some("success") => Ok(body["data"].take()),
            _ => Err(body["error"].to_string()),
        }
    }

    /// What an expression is now: its series, each with `metric` and `value`.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.get("query", &[("query", expression)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until an expression has series.
    pub async fn wait_for(&self, expression: &str) -> Vec<Value> {
        self.wait_until(expression, async || {
            let series = self.query(expression).await?;
            let there = !series.is_empty();
            there.then_some(series).ok_or_else(|| "no series".to_owned())
        })
        .await
    }

    /// Waits until `condition` holds; what it says meanwhile is shown where it never does.
    pub async fn wait_until<T>(&self, what: &str, condition: impl AsyncFn() -> Result<T, String>) -> T {
        let end = Instant::now() + READY;
        loop {
            match condition().await {
                Ok(found) => return found,
                Err(problem) => assert!(
                    Instant::now() < end,
                    "waited for {what}: {problem}\n{}",
                    self.guard.told()
                ),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Runs promtool in `config/`, with `input` on its standard input; what it says must be that all is well.
pub fn promtool(arguments: &[&str], input: &str) {
    let outcome = try_promtool(&repository("config"), arguments, input);
    outcome.unwrap_or_else(|told| panic!("promtool {arguments:?}:\n{told}"));
}

/// Runs promtool in a directory. The error is what it says.
pub fn try_promtool(directory: &Path, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Taken whole before anything is said, so neither waits for the other.
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        let told = [output.stdout, output.stderr].concat();
        return Err(String::from_utf8_lossy(&told).into_owned());
    }
    written.map_err(|error| error.to_string())
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no {name} on the PATH: run `make prometheus`, or install the Debian package prometheus"
        )
    })
}

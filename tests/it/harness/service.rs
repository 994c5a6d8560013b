//! The built binary, run as an operator runs it: a configuration file, a key made by the command, signals.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::anvil::Anvil;
use super::fake_webhook::FakeWebhook;
use super::guard::Guard;
use super::http_client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
const STARTED: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(30);

/// A running `tollgate run`, which is killed when this is dropped. Its API is on a port that the system chose.
pub struct Service {
    guard: Guard,
    pid: String,
    api: SocketAddr,
    metrics: SocketAddr,
    key: String,
    http: reqwest::Client,
    /// The last to go.
    _directory: Option<TempDir>,
}

/// Runs `tollgate run` where it must end by itself; what it wrote.
pub fn run_to_its_end(config: &Path) -> String {
    let guard = Guard::start(
        &[PROGRAM, "--config", config.to_str().unwrap(), "run"],
        "KILL",
        None,
    );
    guard.wait_for_end(DEADLINE);
    guard.told()
}

/// A key with every scope.
pub fn new_key(config: &Path) -> String {
    let scopes = "check,billing,gates,admin";
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config);
    command.args(["keys", "create", "--name", "test", "--scopes", scopes]);
    let made = command.env_clear().stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{told}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

impl Service {
    /// Starts one over a chain named `anvil` that accepts `token`, pays `treasury` and tells `webhook`; returns once it is
    /// ready.
    pub async fn over(anvil: &Anvil, token: Address, treasury: Address, webhook: &FakeWebhook) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("tollgate.toml");
        let text = configuration(directory.path(), anvil, token, treasury, webhook);
        std::fs::write(&config, text).unwrap();
        let service = Self::start_in(&config, &new_key(&config), Some(directory));
        service.wait_ready(true).await;
        service
    }

    /// Starts it, and waits until it listens. `server.listen` and `server.metrics_listen` must leave the port to the system.
    pub fn start(config: &Path, key: &str) -> Self {
        Self::start_in(config, key, None)
    }

    fn start_in(config: &Path, key: &str, directory: Option<TempDir>) -> Self {
        let config = config.to_str().unwrap();
        let script = r#"echo "pid $$"; exec "$@""#;
        let program = [
            "env", "-i", "sh", "-c", script, "sh", PROGRAM, "--config", config, "run",
        ];
        let guard = Guard::start(&program, "KILL", None);
        let pid = guard.wait_for_line(STARTED, |line| line.strip_prefix("pid ").map(str::to_owned));
        let address = |name: &str| {
            guard.wait_for_line(STARTED, |line| {
                let listening = line.split_once("listening ")?.1;
                let address = listening.split(' ').find_map(|word| word.strip_prefix(name));
                address?.parse().ok()
            })
        };
        let (api, metrics) = (address("api="), address("metrics="));
        Self {
            guard,
            pid,
            api,
            metrics,
            key: key.to_owned(),
            http: http_client(),
            _directory: directory,
        }
    }

    /// Sends it a signal: `KILL`, `STOP`, `CONT`, `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status();
        assert!(sent.unwrap().success(), "kill -s {name}");
    }

    /// Waits until a line of its log holds a text.
    pub fn wait_for_log(&self, text: &str) {
        self.guard
            .wait_for_line(DEADLINE, |line| line.contains(text).then_some(()));
    }

    /// The last lines of its log.
    pub fn told(&self) -> String {
        self.guard.told()
    }

    /// Asks its API; the status and the answer, null where it is not JSON.
    pub async fn try_get(&self, path: &str) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.get(format!("http://{}{path}", self.api));
        let answer = request.bearer_auth(&self.key).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Asks its API for what goes on, without a key; it must be granted.
    pub async fn listen(&self, path: &str) -> reqwest::Response {
        let answer = self.http.get(format!("http://{}{path}", self.api)).send().await;
        answer.unwrap().error_for_status().unwrap()
    }

    /// Where Prometheus finds it.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// What `/metrics` shows.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.metrics);
        let answer = self.http.get(url).send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }

    /// What a metric says, with its labels as they are written; none where it was never set.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse().ok())
    }

    /// Asks its API.
    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.try_get(path).await.unwrap();
        assert!(status < 300, "{path}: {status} {answer}\n{}", self.told());
        answer
    }

    /// Posts to its API for a tenant; it must succeed.
    pub async fn post(&self, tenant: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(tenant, path, body).await;
        assert!(status < 300, "{path}: {status} {answer}\n{}", self.told());
        answer
    }

    /// The same, which may be refused; the status and the answer.
    pub async fn try_post(&self, tenant: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("http://{}{path}", self.api));
        let request = request.bearer_auth(&self.key).header("x-tenant-id", tenant);
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks a tenant for a month of pro; the charge.
    pub async fn charge(&self, tenant: &str) -> Value {
        let body = json!({"plan": "pro", "interval": "month"});
        self.post(tenant, "/api/billing/crypto/stablecoin", &body).await
    }

    /// What operators see of a chain; null where it is not configured.
    pub async fn chain(&self, name: &str) -> Value {
        let chains = self.get("/api/admin/chains").await;
        let chains = chains["chains"].as_array().cloned().unwrap_or_default();
        let found = chains.into_iter().find(|chain| chain["name"] == name);
        found.unwrap_or_default()
    }

    /// Waits until a chain is as wanted; how long that took.
    pub async fn wait_chain(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let chain = self.chain(name).await;
            if holds(&chain) {
                return started.elapsed();
            }
            let waited = started.elapsed();
            assert!(
                waited < DEADLINE,
                "{what}: not after {waited:?}: {chain}\n{}",
                self.told()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it is ready, or is not.
    pub async fn wait_ready(&self, ready: bool) {
        let started = Instant::now();
        loop {
            let (status, answer) = self.try_get("/readyz").await.unwrap();
            if (status == 200) == ready {
                return;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "ready is not {ready}: {answer}\n{}",
                self.told()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended; the last lines of its log.
    pub fn wait_end(&self) -> String {
        self.guard.wait_for_end(DEADLINE);
        self.told()
    }
}

fn configuration(
    directory: &Path,
    anvil: &Anvil,
    token: Address,
    treasury: Address,
    webhook: &FakeWebhook,
) -> String {
    let database = directory.join("state.sqlite");
    let (database, hook) = (database.display(), webhook.url());
    let (ws, http) = (anvil.ws_url(), anvil.http_url());
    format!(
        r#"
chain_files = ["anvil"]

[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"

[store]
url = "sqlite://{database}"

[[webhooks]]
name = "chat"
url = "{hook}"
secrets = ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
allow_private_network = true

[chains.anvil]
treasury = "{treasury}"

[[chains.anvil.tokens]]
address = "{token}"
symbol = "USDC"
decimals = 6

[[chains.anvil.endpoints]]
name = "local"
operator = "us"
ws = "{ws}"
http = "{http}"
requests_per_second = 1000
"#
    )
}

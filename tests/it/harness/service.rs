//! The shipped binary, run as an operator runs it: a configuration file, a key made by the command, `tollgate run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use serde_json::Value;

use super::anvil::Anvil;
use super::fake_webhook::FakeWebhook;
use super::guard::Guard;
use super::http_client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
const READY: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A running service on ports of its own, over one chain named `anvil`. Dropping it kills it.
pub struct Service {
    api: SocketAddr,
    metrics: SocketAddr,
    key: String,
    http: reqwest::Client,
    guard: Guard,
}

impl Service {
    /// Starts one that accepts `token`, pays `treasury` and tells `webhook`; returns once it is ready.
    pub async fn start(anvil: &Anvil, token: Address, treasury: Address, webhook: &FakeWebhook) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tollgate-service-")
            .tempdir()
            .unwrap()
            .keep();
        let config = directory.join("tollgate.toml");
        std::fs::write(
            &config,
            configuration(&directory, anvil, token, treasury, webhook),
        )
        .unwrap();
        let key = create_key(&config);
        let program: [PathBuf; 4] = [PROGRAM.into(), "--config".into(), config, "run".into()];
        let guard = Guard::start(&program, "KILL", Some(&directory));
        let (api, metrics) = guard.wait_for_line(READY, |line| {
            line.contains("listening")
                .then_some((address(line, "api=")?, address(line, "metrics=")?))
        });
        let service = Self {
            api,
            metrics,
            key,
            http: http_client(),
            guard,
        };
        service.wait_until_ready().await;
        service
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

    /// Posts to the API with every scope, for the tenant `acme`; it must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("http://{}{path}", self.api));
        let request = request.bearer_auth(&self.key).header("x-tenant-id", "acme");
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn wait_until_ready(&self) {
        let end = Instant::now() + READY;
        let url = format!("http://{}/readyz", self.api);
        loop {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(
                Instant::now() < end,
                "the service is not ready:\n{}",
                self.guard.told()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn create_key(config: &Path) -> String {
    let made = Command::new(PROGRAM)
        .arg("--config")
        .arg(config)
        .args(["keys", "create", "--name", "test", "--scopes", "admin"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn address(line: &str, name: &str) -> Option<SocketAddr> {
    let words = line.split_whitespace();
    words
        .filter_map(|word| word.strip_prefix(name))
        .find_map(|address| address.parse().ok())
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

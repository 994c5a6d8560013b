//! The shipped binary, run as an operator would run it: a configuration file, a key made by the command, `tollgate run`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use alloy::primitives::Address;
use reqwest::header::HeaderMap;

use crate::anvil::Anvil;
use crate::failure::{Failure, Outcome, ensure, until};
use crate::http::Http;
use crate::listener::{Listener, Secret};
use crate::process::Process;

const READY: Duration = Duration::from_secs(30);
const STOPPED: Duration = Duration::from_secs(15);
/// Lines of its log that are shown where a step does not hold.
const KEPT_WORDS: usize = 40;
const CONFIG: &str = "demo.toml";

/// What the configuration of a run is made of.
pub struct Settings<'a> {
    /// The chain.
    pub anvil: &'a Anvil,
    /// Who is told of events.
    pub listener: &'a Listener,
    /// The accepted token.
    pub token: Address,
    /// Who is paid.
    pub treasury: Address,
    /// The signing secret of Stripe's webhooks.
    pub stripe: &'a Secret,
}

/// The service, running or not.
pub struct Service {
    /// Where the API is.
    pub url: String,
    /// Where the metrics are.
    pub metrics_url: String,
    /// An API key with every scope.
    pub key: String,
    program: PathBuf,
    directory: PathBuf,
    http: Http,
    process: Option<Process>,
    /// The last words of those before.
    past: String,
}

impl Service {
    /// Writes the configuration into a directory, with a database beside it, and makes a key.
    pub fn prepare(directory: &Path, settings: &Settings<'_>, http: Http) -> Outcome<Self> {
        let program = program()?;
        let (api, metrics) = (free_port(8080)?, free_port(9464)?);
        std::fs::write(directory.join(CONFIG), configuration(settings, api, metrics))?;
        let mut service = Self {
            url: format!("http://127.0.0.1:{api}"),
            metrics_url: format!("http://127.0.0.1:{metrics}/metrics"),
            key: String::new(),
            program,
            directory: directory.to_owned(),
            http,
            process: None,
            past: String::new(),
        };
        service.key = service.create_key()?;
        Ok(service)
    }

    fn create_key(&self) -> Outcome<String> {
        let made = Command::new(&self.program)
            .args(["--config", CONFIG, "keys", "create", "--name", "demo"])
            .args(["--scopes", "check,billing,gates,admin"])
            .current_dir(&self.directory)
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        ensure(made.status.success(), || {
            let told = String::from_utf8_lossy(&made.stderr).into_owned();
            format!("`tollgate keys create` failed: {told}")
        })?;
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// Starts it, and waits until it says that it is ready. Returns its process id.
    pub async fn start(&mut self) -> Outcome<u32> {
        let arguments = ["--config", CONFIG, "run"];
        let process = Process::start("tollgate", &self.program, &arguments, &self.directory, "KILL")?;
        let id = process.id().await?;
        let process = self.process.insert(process);
        let (http, url) = (&self.http, format!("{}/readyz", self.url));
        until("the service is ready", READY, async || {
            ensure(!process.has_ended(), || {
                format!("the service ended:\n{}", process.told(KEPT_WORDS))
            })?;
            let answer = http.get(&url, HeaderMap::new()).await;
            Ok(answer.ok().filter(|answer| answer.status == 200))
        })
        .await?;
        Ok(id)
    }

    /// Kills it (SIGKILL), and makes sure that nobody answers any more.
    pub async fn kill(&mut self) -> Outcome<()> {
        if let Some(process) = self.process.take() {
            self.past = format!("{}\n", process.told(KEPT_WORDS));
        }
        let url = format!("{}/livez", self.url);
        let answer = self.http.get(&url, HeaderMap::new()).await;
        ensure(answer.is_err(), || {
            "something still answers after SIGKILL".to_owned()
        })
    }

    /// Asks it to stop (SIGTERM), and kills it where it does not.
    pub async fn stop(&mut self) -> bool {
        match self.process.take() {
            Some(process) => process.stop(STOPPED).await,
            None => true,
        }
    }

    /// Its last log lines, also those from before it was killed.
    pub fn told(&self) -> String {
        let present = self.process.as_ref().map(|process| process.told(KEPT_WORDS));
        format!("{}{}", self.past, present.unwrap_or_default())
    }
}

fn configuration(settings: &Settings<'_>, api: u16, metrics: u16) -> String {
    let Settings {
        anvil,
        listener,
        token,
        treasury,
        stripe,
    } = settings;
    let (webhook_url, webhook_secret) = (&listener.url, listener.secret.as_str());
    let (stripe_secret, address) = (stripe.as_str(), &anvil.address);
    format!(
        r#"# Written by the demo; config/tollgate.toml explains every key.
chain_files = ["anvil"]

[server]
listen = "127.0.0.1:{api}"
metrics_listen = "127.0.0.1:{metrics}"
requests_per_second = 100000

[store]
url = "sqlite://tollgate.sqlite"

[wallets]
domain = "chat.example"
uri = "https://chat.example"

[stripe]
webhook_secrets = ["{stripe_secret}"]

[[webhooks]]
name = "demo"
url = "{webhook_url}"
secrets = ["{webhook_secret}"]
allow_private_network = true

[chains.anvil]
treasury = "{treasury}"

[[chains.anvil.tokens]]
address = "{token}"
symbol = "USDC"
decimals = 6

[[chains.anvil.endpoints]]
name = "anvil"
operator = "local"
ws = "ws://{address}"
http = "http://{address}"
requests_per_second = 1000
"#
    )
}

/// The binary that was built with this example, in the directory above it.
fn program() -> Outcome<PathBuf> {
    let example = std::env::current_exe()?;
    let built = example
        .parent()
        .and_then(Path::parent)
        .map(|target| target.join("tollgate"));
    built.filter(|path| path.is_file()).ok_or_else(|| {
        let problem = "the tollgate binary is not built: run `make demo`, or `cargo build --bin tollgate`";
        Failure(problem.to_owned())
    })
}

/// The first free port from `first` on. Ports that the system gives to outgoing connections lie higher, and one of those
/// could take the service's own port while it is down.
fn free_port(first: u16) -> Outcome<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found = (first..first.saturating_add(500)).find(free);
    found.ok_or_else(|| Failure(format!("no port is free from {first} on")))
}

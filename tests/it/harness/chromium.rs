//! A real Chromium for all tests of this process, driven over the `DevTools` protocol: that of the Debian package `chromium`.
//!
//! Each tab has a context of its own, so that no test sees what another left. What a page sends through the binding `call`
//! is answered by the test: so a wallet can be played that a page cannot tell from a real one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::guard::Guard;

const READY: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Loopback alone is to be talked to, and nothing is to be asked of the maker's hosts.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
];

/// The browser, which ends with this process.
struct Chromium {
    /// `ws://127.0.0.1:…/devtools/browser/…`
    url: String,
    _guard: Guard,
}

fn chromium() -> &'static Chromium {
    static CHROMIUM: OnceLock<Chromium> = OnceLock::new();
    CHROMIUM.get_or_init(|| {
        let profile = tempfile::Builder::new().prefix("tollgate-chromium-").tempdir();
        let profile = profile.unwrap().keep();
        let mut command = vec![program().display().to_string()];
        command.extend(FLAGS.map(str::to_owned));
        command.push(format!("--user-data-dir={}", profile.display()));
        let guard = Guard::start(&command, "KILL", Some(&profile));
        let url = guard.wait_for_line(READY, |line| {
            line.strip_prefix("DevTools listening on ").map(str::to_owned)
        });
        Chromium { url, _guard: guard }
    })
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join("chromium"));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no chromium on the PATH: run `make chromium`, or install the Debian package chromium"
        )
    })
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// One connection of the protocol.
struct Session {
    outgoing: mpsc::UnboundedSender<Message>,
    waiting: Waiting,
    next_id: AtomicU64,
}

impl Session {
    /// `events` is told of everything that is no answer.
    async fn open(url: &str, events: mpsc::UnboundedSender<Value>) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let (mut sink, mut stream) = socket.split();
        let (outgoing, mut queue) = mpsc::unbounded_channel::<Message>();
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        });
        let waiting = Waiting::default();
        let asked = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Ok(message) = serde_json::from_slice::<Value>(&message.into_data()) else {
                    continue;
                };
                let answered = message["id"]
                    .as_u64()
                    .and_then(|id| asked.lock().unwrap().remove(&id));
                // Whoever no longer waits needs no answer.
                let _ = match answered {
                    Some(waiter) => waiter.send(message).map_err(|_| ()),
                    None => events.send(message).map_err(|_| ()),
                };
            }
        });
        Self {
            outgoing,
            waiting,
            next_id: AtomicU64::new(1),
        }
    }

    async fn command(&self, method: &str, params: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        self.outgoing.send(Message::text(text)).unwrap();
        let answer = tokio::time::timeout(DEADLINE, receiver).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("{method}: no answer")).unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }
}

/// What a page asked the test for, through `call(text)`.
pub struct Call {
    /// As it was sent.
    pub text: String,
    session: Arc<Session>,
}

impl Call {
    /// Runs a script in the page.
    pub async fn answer(&self, script: &str) {
        let params = json!({"expression": script});
        self.session.command("Runtime.evaluate", params).await;
    }
}

/// A tab.
pub struct Tab {
    session: Arc<Session>,
    problems: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    /// Opens one, 1024 pixels wide. `before` runs in each document before any script of its own; `calls` is told of what
    /// the page calls.
    pub async fn open(before: &str, calls: mpsc::UnboundedSender<Call>) -> Self {
        let (url, target) = new_target().await;
        let (events, mut heard) = mpsc::unbounded_channel();
        let url = format!(
            "{}/devtools/page/{target}",
            url.split("/devtools").next().unwrap()
        );
        let session = Arc::new(Session::open(&url, events).await);
        let problems = Arc::new(Mutex::new(Vec::new()));
        let (answering, noting) = (Arc::clone(&session), Arc::clone(&problems));
        tokio::spawn(async move {
            while let Some(event) = heard.recv().await {
                match event["method"].as_str() {
                    Some("Runtime.bindingCalled") => {
                        let text = event["params"]["payload"].as_str().unwrap().to_owned();
                        let session = Arc::clone(&answering);
                        let _ = calls.send(Call { text, session });
                    }
                    Some("Runtime.exceptionThrown") => noting.lock().unwrap().push(event.to_string()),
                    Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                        noting.lock().unwrap().push(event.to_string());
                    }
                    _ => {}
                }
            }
        });
        let tab = Self { session, problems };
        for domain in ["Page", "Runtime", "Log"] {
            tab.command(&format!("{domain}.enable"), json!({})).await;
        }
        tab.command("Runtime.addBinding", json!({"name": "call"})).await;
        let script = json!({"source": before});
        tab.command("Page.addScriptToEvaluateOnNewDocument", script).await;
        tab.width(1024).await;
        tab
    }

    /// One that holds no wallet.
    pub async fn plain() -> Self {
        let (calls, _) = mpsc::unbounded_channel();
        Self::open("", calls).await
    }

    pub async fn command(&self, method: &str, params: Value) -> Value {
        self.session.command(method, params).await
    }

    /// Makes it so wide, and 900 pixels high.
    pub async fn width(&self, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Goes to a page, and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.command("Page.navigate", json!({"url": url})).await;
        let loaded = format!(
            "location.href === {} && document.readyState === 'complete'",
            json!(url)
        );
        self.wait(&loaded).await;
    }

    /// The value of an expression, awaited.
    pub async fn value(&self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.command("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn wait(&self, expression: &str) {
        let end = Instant::now() + DEADLINE;
        while self.value(expression).await != true {
            if Instant::now() > end {
                let shown = self.value("document.body.innerText").await;
                panic!("waited for {expression}: {shown}\n{:?}", self.problems());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until what is shown of an element holds a text.
    pub async fn wait_text(&self, selector: &str, text: &str) {
        let shown = format!("document.querySelector({})?.innerText", json!(selector));
        let words = format!(
            "{shown}?.replace(/\\s+/g, ' ').includes({}) ?? false",
            json!(text)
        );
        self.wait(&words).await;
    }

    /// Presses a key: `Tab`, `Enter`.
    pub async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            _ => (9, ""),
        };
        for kind in ["keyDown", "keyUp"] {
            let pressed =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.command("Input.dispatchKeyEvent", pressed).await;
        }
    }

    /// What went wrong in the page: exceptions, refused resources, breaches of its policy.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }
}

/// A tab in a context of its own; the browser's URL, and the tab's id.
async fn new_target() -> (String, String) {
    let url = tokio::task::spawn_blocking(|| chromium().url.clone())
        .await
        .unwrap();
    let (events, _) = mpsc::unbounded_channel();
    let browser = Session::open(&url, events).await;
    let context = browser.command("Target.createBrowserContext", json!({})).await;
    let params = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
    let target = browser.command("Target.createTarget", params).await;
    (url, target["targetId"].as_str().unwrap().to_owned())
}

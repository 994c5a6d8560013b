//! A provider of hosted checkouts, as Coinbase Business documents its API: it keeps what it opened, by idempotency key, and
//! misbehaves when a test says so. Tokens are verified, and webhooks signed, by other libraries than the service's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;

pub const KEY_ID: &str = "key-of-the-tests";
pub const WEBHOOK_SECRET: &str = "a-secret-of-a-subscription";

/// What it does with the next request instead of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers with a status and opens nothing.
    Status(u16),
    /// Opens it, and answers as if it had not.
    LosesTheAnswer,
    /// Never answers.
    Silent,
    /// Answers with something that is not JSON.
    Garbled,
    /// Opens one that asks something else.
    AnotherPrice,
    /// Opens one in another currency.
    AnotherCurrency,
    /// Opens one whose page is a script.
    Script,
    /// Opens one without an id.
    Nameless,
    /// Answers with more than anyone should read.
    Endless,
}

#[derive(Default)]
struct Kept {
    moods: VecDeque<Mood>,
    /// What was opened, by idempotency key.
    opened: BTreeMap<String, Value>,
    /// The bodies of all requests, with their keys.
    asked: Vec<(String, Value)>,
}

type Shared = Arc<(Mutex<Kept>, Vec<u8>)>;

/// The provider, on a port of its own. Dropping it closes it.
pub struct FakeCheckout {
    url: String,
    secret: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Drop for FakeCheckout {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeCheckout {
    pub async fn start() -> Self {
        let seed = [9; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sandbox", listener.local_addr().unwrap());
        let shared: Shared = Arc::new((Mutex::default(), public.clone()));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            secret: STANDARD.encode([seed.to_vec(), public].concat()),
            shared,
            server,
        }
    }

    /// Where its API begins.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The secret of the one key that it knows.
    pub fn key_secret(&self) -> &str {
        &self.secret
    }

    /// What it does with the next requests, one each.
    pub fn next(&self, moods: impl IntoIterator<Item = Mood>) {
        self.shared.0.lock().unwrap().moods.extend(moods);
    }

    /// The checkouts that it has opened.
    pub fn opened(&self) -> Vec<Value> {
        self.shared.0.lock().unwrap().opened.values().cloned().collect()
    }

    /// All requests that bore a good token: the idempotency key and the body.
    pub fn asked(&self) -> Vec<(String, Value)> {
        self.shared.0.lock().unwrap().asked.clone()
    }
}

/// An event of a checkout that was opened, as it is sent.
pub fn event(checkout: &Value, kind: &str, updated_at: &str) -> String {
    let mut event = checkout.clone();
    event["eventType"] = json!(kind);
    event["updatedAt"] = json!(updated_at);
    event.to_string()
}

/// The signature that it sends with a body.
pub fn signature(body: &str, secret: &str, at_s: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at_s}.{body}").as_bytes());
    format!("t={at_s},v0={}", hex::encode(mac.finalize().into_bytes()))
}

/// The header of a request, or nothing.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The claims of a token that the key signed.
fn claims(token: &str, public: &[u8]) -> Option<Value> {
    let (message, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(message.as_bytes(), &signature).ok()?;
    let (header, claims) = message.split_once('.')?;
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let header = read(header)?;
    let is_ours =
        header["alg"] == "EdDSA" && header["kid"] == KEY_ID && header["nonce"].as_str()?.len() == 32;
    is_ours.then(|| read(claims)).flatten()
}

fn is_admitted(headers: &HeaderMap, uri: &Uri, public: &[u8]) -> bool {
    let Some(token) = header(headers, "authorization").strip_prefix("Bearer ") else {
        return false;
    };
    let claims = claims(token, public).unwrap_or_default();
    let lifetime = claims["exp"].as_i64().unwrap_or_default() - claims["nbf"].as_i64().unwrap_or_default();
    claims["iss"] == "cdp"
        && claims["sub"] == KEY_ID
        && claims["uri"] == format!("POST 127.0.0.1{}", uri.path())
        && lifetime == 120
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (kept, public) = &*shared;
    if uri.path() != "/sandbox/api/v1/checkouts" || !is_admitted(&headers, &uri, public) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let key = header(&headers, "x-idempotency-key").to_owned();
    let wanted: Value = serde_json::from_slice(&body).unwrap();
    let mood = {
        let mut kept = kept.lock().unwrap();
        kept.asked.push((key.clone(), wanted.clone()));
        kept.moods.pop_front()
    };
    match mood {
        Some(Mood::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Mood::Silent) => return std::future::pending().await,
        Some(Mood::Garbled) => return (StatusCode::CREATED, "<html>").into_response(),
        Some(Mood::Endless) => return (StatusCode::CREATED, vec![b' '; 1 << 20]).into_response(),
        _ => {}
    }
    let mut kept = kept.lock().unwrap();
    let number = kept.opened.len();
    let checkout = kept
        .opened
        .entry(key)
        .or_insert_with(|| open(number, &wanted, mood));
    if mood == Some(Mood::LosesTheAnswer) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (StatusCode::CREATED, checkout.to_string()).into_response()
}

fn open(number: usize, wanted: &Value, mood: Option<Mood>) -> Value {
    let mut checkout = wanted.clone();
    let id = format!("68f7a946db0529ea{number:08x}");
    checkout["url"] = json!(format!("https://payments.example/{id}"));
    checkout["id"] = json!(id);
    checkout["status"] = json!("ACTIVE");
    checkout["network"] = json!("base");
    match mood {
        Some(Mood::AnotherPrice) => checkout["amount"] = json!("0.01"),
        Some(Mood::AnotherCurrency) => checkout["currency"] = json!("EUR"),
        Some(Mood::Script) => checkout["url"] = json!("javascript:alert(1)"),
        Some(Mood::Nameless) => checkout["id"] = json!(null),
        _ => {}
    }
    checkout
}

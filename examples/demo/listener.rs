//! The chat product's side of the webhooks: it verifies what arrives (<https://www.standardwebhooks.com>) and keeps it.
//!
//! Owns a verifier of its own, so that what tollgate signs is checked by the specification and not by tollgate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::watch;
use tollgate::clock::Clock;

use crate::failure::{Failure, Outcome};

/// How far a webhook's time may be from ours, in seconds.
const TOLERANCE_S: u64 = 300;
const PREFIX: &str = "whsec_";

/// The secret that the service and the listener share.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn random() -> Outcome<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// As a configuration names it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One delivery, as it came.
#[derive(Clone)]
pub struct Delivery {
    /// The event's id; the same for every try.
    pub id: String,
    /// When it was signed, in seconds since the epoch, as text.
    pub timestamp: String,
    /// The signatures.
    pub signature: String,
    /// The bytes that were signed.
    pub body: Bytes,
    /// Those bytes as JSON.
    pub event: Value,
    /// Whether it verified.
    pub is_genuine: bool,
    /// When it came.
    pub arrived: Instant,
}

impl Delivery {
    /// What happened, `charge.paid`.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    /// Whether it tells of this charge.
    pub fn is_of_charge(&self, id: &str) -> bool {
        self.event["data"]["charge"]["id"] == id
    }

    /// Whether it tells of this tenant.
    pub fn is_of_tenant(&self, tenant: &str) -> bool {
        let data = &self.event["data"];
        data["tenantId"] == tenant || data["charge"]["tenantId"] == tenant
    }
}

/// A listener on a port of its own.
pub struct Listener {
    /// Where to send.
    pub url: String,
    /// What it verifies with.
    pub secret: Secret,
    received: watch::Receiver<Vec<Delivery>>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    secret: Secret,
    received: watch::Sender<Vec<Delivery>>,
}

impl Listener {
    /// Starts one.
    pub async fn start() -> Outcome<Self> {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", socket.local_addr()?);
        let secret = Secret::random()?;
        let (sender, received) = watch::channel(Vec::new());
        let shared = Shared {
            secret: secret.clone(),
            received: sender,
        };
        let router = Router::new()
            .route("/events", post(receive))
            .with_state(Arc::new(shared));
        let server = tokio::spawn(async move {
            // It ends with the demo; an error shows in the events that do not come.
            let _ = axum::serve(socket, router).await;
        });
        Ok(Self {
            url,
            secret,
            received,
            server,
        })
    }

    /// Everything that `of_interest` picks, in the order of arrival.
    pub fn all(&self, of_interest: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let received = self.received.borrow();
        received
            .iter()
            .filter(|delivery| of_interest(delivery))
            .cloned()
            .collect()
    }

    /// Waits for the first that `of_interest` picks.
    pub async fn first(
        &self,
        what: &str,
        deadline: Duration,
        of_interest: impl Fn(&Delivery) -> bool,
    ) -> Outcome<Delivery> {
        let mut received = self.received.clone();
        let search = |all: &Vec<Delivery>| all.iter().find(|delivery| of_interest(delivery)).cloned();
        let waiting = received.wait_for(|all| search(all).is_some());
        let found = tokio::time::timeout(deadline, waiting).await;
        let found = found.ok().and_then(Result::ok).and_then(|all| search(&all));
        found.ok_or_else(|| Failure(format!("no webhook {what} within {deadline:?}")))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut delivery = Delivery {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        event: serde_json::from_slice(&body).unwrap_or_default(),
        body,
        is_genuine: false,
        arrived: Instant::now(),
    };
    delivery.is_genuine = is_genuine(&delivery, &shared.secret);
    let status = if delivery.is_genuine {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::UNAUTHORIZED
    };
    shared.received.send_modify(|all| all.push(delivery));
    status
}

/// Whether the holder of the secret signed this delivery, not long ago.
pub fn is_genuine(delivery: &Delivery, secret: &Secret) -> bool {
    let Some(key) = secret
        .0
        .strip_prefix(PREFIX)
        .and_then(|key| STANDARD.decode(key).ok())
    else {
        return false;
    };
    let now_s = Clock::system().now_ms() / 1000;
    let is_fresh = |signed_s: i64| signed_s.abs_diff(now_s) <= TOLERANCE_S;
    if !delivery.timestamp.parse().is_ok_and(is_fresh) {
        return false;
    }
    let signatures = delivery
        .signature
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"));
    let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
    signatures.any(|signature| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            return false;
        };
        mac.update(format!("{}.{}.", delivery.id, delivery.timestamp).as_bytes());
        mac.update(&delivery.body);
        mac.verify_slice(&signature).is_ok()
    })
}

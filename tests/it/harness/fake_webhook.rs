//! A receiver of webhooks: it keeps what it was sent, and answers as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request, in the order of arrival.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What it was answered with.
    pub status: StatusCode,
}

impl Received {
    /// A header's text, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

#[derive(Clone)]
struct Shared {
    received: Arc<watch::Sender<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    delay: Arc<Mutex<Duration>>,
}

/// A listener on a port of its own. Dropping it closes it.
pub struct FakeWebhook {
    url: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl FakeWebhook {
    /// Starts one that answers 204.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let shared = Shared {
            received: Arc::new(watch::channel(Vec::new()).0),
            answers: Arc::default(),
            delay: Arc::default(),
        };
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// Where to send.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the next requests with these, one each, and then 204 again. A redirect leads back here.
    pub fn answer_next(&self, statuses: impl IntoIterator<Item = u16>) {
        let statuses = statuses
            .into_iter()
            .map(|status| StatusCode::from_u16(status).unwrap());
        self.shared.answers.lock().unwrap().extend(statuses);
    }

    /// Answers that much later from now on.
    pub fn answer_after(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// Waits until `holds` of all that has been received, and returns it.
    pub async fn wait_for(&self, deadline: Duration, holds: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut received = self.shared.received.subscribe();
        let found = tokio::time::timeout(deadline, received.wait_for(|all| holds(all))).await;
        let Ok(all) = found else {
            panic!(
                "not received in {deadline:?}: {:?}",
                self.shared.received.borrow()
            );
        };
        all.unwrap().clone()
    }
}

impl Drop for FakeWebhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = shared.answers.lock().unwrap().pop_front();
    let status = answer.unwrap_or(StatusCode::NO_CONTENT);
    let received = Received {
        headers,
        body,
        status,
    };
    shared.received.send_modify(|all| all.push(received));
    let delay = *shared.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    if status.is_redirection() {
        return (status, [(header::LOCATION, "/elsewhere")]).into_response();
    }
    status.into_response()
}

#[tokio::test]
async fn it_keeps_what_it_was_sent_and_answers_as_it_is_told() {
    let webhook = FakeWebhook::start().await;
    webhook.answer_next([500, 410]);
    let client = super::http_client();
    for (body, status) in [("one", 500), ("two", 410), ("three", 204)] {
        let request = client.post(webhook.url()).header("webhook-id", body).body(body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    let all = webhook
        .wait_for(Duration::from_secs(10), |all| all.len() == 3)
        .await;
    assert_eq!(all[1].header("webhook-id"), "two");
    assert_eq!(&all[2].body[..], b"three");
    assert_eq!(all[2].header("absent"), "");
    assert!(all.iter().filter(|one| one.status.is_success()).count() == 1);
}

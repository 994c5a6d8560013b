//! The WebSocket side: a socket to the node for each socket of a client, and the subscriptions that it carries.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::fault::error;
use super::{HUGE_BYTES, Passage, Shared, Way, connection_fault, stall};

/// Messages that are on their way later.
const MAX_DELAYED: usize = 4096;

type Client = WebSocketStream<TcpStream>;

/// Serves a connection until it ends, or a fault strikes all of its way.
pub(super) async fn serve(stream: TcpStream, shared: &Shared) {
    let passage = connection_fault(&shared.rules.borrow(), Way::Ws).map(|(_, passage)| passage);
    let mut client = match passage {
        None => match tokio_tungstenite::accept_async(stream).await {
            Ok(client) => client,
            Err(_) => return,
        },
        Some(Passage::Silence) => return stall(stream).await,
        Some(_) => return,
    };
    let passage = tokio::select! {
        biased;
        passage = shared.connections_struck(Way::Ws) => passage,
        _ended = converse(&mut client, shared) => return,
    };
    if passage == Passage::Silence {
        stall(client.into_inner()).await;
    }
}

async fn converse(client: &mut Client, shared: &Shared) -> Result<(), Error> {
    let (mut node, _) = tokio_tungstenite::connect_async(format!("ws://{}", shared.node())).await?;
    let (later, mut due) = mpsc::channel(MAX_DELAYED);
    let mut line = Line {
        shared,
        later,
        asked: HashMap::new(),
        subscriptions: HashMap::new(),
        held: None,
    };
    loop {
        tokio::select! {
            said = client.next() => match said {
                Some(Ok(Message::Text(text))) => node.send(line.request(&text)).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Ok(()),
            },
            said = node.next() => match said {
                Some(Ok(Message::Text(text))) => {
                    if line.pass_on(client, &text).await? == Passage::Close {
                        return Ok(());
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Ok(()),
            },
            Some(text) = due.recv() => line.send(client, text).await?,
        }
    }
}

/// What is known of one socket.
struct Line<'s> {
    shared: &'s Shared,
    later: mpsc::Sender<String>,
    /// Requests that are not answered yet, by the text of their id.
    asked: HashMap<String, Value>,
    /// What each subscription is for: `newHeads` or `logs`.
    subscriptions: HashMap<String, String>,
    /// A notification that waits for the next one.
    held: Option<String>,
}

impl Line<'_> {
    /// A request of the client, as the node is asked.
    fn request(&mut self, text: &str) -> Message {
        self.shared.count_up(text.len());
        let Ok(mut request) = serde_json::from_str::<Value>(text) else {
            return Message::text(text);
        };
        self.shared.take_request(Way::Ws, &mut request);
        let message = Message::text(request.to_string());
        self.asked.insert(request["id"].to_string(), request);
        message
    }

    /// What the node said: an answer, or a notification.
    async fn pass_on(&mut self, client: &mut Client, text: &str) -> Result<Passage, Error> {
        let Ok(mut said) = serde_json::from_str::<Value>(text) else {
            return Ok(Passage::Close);
        };
        let Some(request) = self.asked.remove(&said["id"].to_string()) else {
            self.notify(client, text, &said).await?;
            return Ok(Passage::Whole);
        };
        if request["method"] == "eth_subscribe" {
            let kind = request["params"][0].as_str().unwrap_or_default().to_owned();
            self.subscriptions.insert(said["result"].to_string(), kind);
        }
        let verdict = self.shared.judge(Way::Ws, &request, &mut said);
        let answer = said.to_string();
        match verdict.passage {
            Passage::Whole => self.send_after(client, verdict.delay, answer).await?,
            Passage::Truncated => {
                let half = answer.chars().take(answer.len() / 2).collect();
                self.send_after(client, verdict.delay, half).await?;
            }
            Passage::Html => {
                self.send_after(client, verdict.delay, "<html></html>".to_owned())
                    .await?;
            }
            Passage::Status(status, _) => {
                let message = match status {
                    402 => "payment required",
                    429 => "too many requests",
                    _ => "not now",
                };
                let refusal = error(&request, i64::from(status), message).to_string();
                self.send_after(client, verdict.delay, refusal).await?;
            }
            Passage::Huge => {
                // The head of a frame of text, by RFC 6455, 5.2.
                let stream = client.get_mut();
                stream.write_all(&[0x81, 127]).await?;
                stream.write_all(&HUGE_BYTES.to_be_bytes()).await?;
                self.shared.pour(stream, false).await?;
                return Ok(Passage::Close);
            }
            Passage::Silence | Passage::Close => {}
        }
        Ok(verdict.passage)
    }

    async fn notify(&mut self, client: &mut Client, text: &str, said: &Value) -> Result<(), Error> {
        let subscription = said["params"]["subscription"].to_string();
        let kind = self.subscriptions.get(&subscription);
        let kind = kind.map_or("", String::as_str);
        let notice = self.shared.judge_notice(kind, &said["params"]["result"]);
        if notice.swap && self.held.is_none() {
            self.held = Some(text.to_owned());
            return Ok(());
        }
        for _ in 0..notice.times {
            self.send_after(client, notice.delay, text.to_owned()).await?;
        }
        if let Some(held) = self.held.take() {
            self.send_after(client, notice.delay, held).await?;
        }
        Ok(())
    }

    async fn send_after(&self, client: &mut Client, delay: Duration, text: String) -> Result<(), Error> {
        if delay.is_zero() {
            return self.send(client, text).await;
        }
        let later = self.later.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _gone = later.send(text).await;
        });
        Ok(())
    }

    async fn send(&self, client: &mut Client, text: String) -> Result<(), Error> {
        self.shared.count_down(text.len());
        client.send(Message::text(text)).await
    }
}

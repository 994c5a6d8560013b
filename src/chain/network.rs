//! How messages reach an endpoint: over the machine's network, or one that a simulation plays.
//!
//! Owns the sockets' and HTTP's own bounds. It knows nothing of JSON-RPC, makes no second attempt, and shows nothing of a
//! URL in what it says.

use std::fmt;
use std::time::Duration;

use alloy::primitives::bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::error::ChainError;
use super::rpc::MAX_BODY_BYTES;

/// Idle connections that are kept per host.
const MAX_IDLE: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause that a Retry-After is believed for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Messages in both directions.
pub trait Messages:
    Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Send + Unpin
{
}

impl<T> Messages for T where
    T: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Send + Unpin
{
}

/// An open WebSocket.
pub type Socket = Box<dyn Messages>;

/// What came back over HTTP.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The pause that a Retry-After header in seconds asks for.
    pub retry_after: Option<Duration>,
    /// At most [`MAX_BODY_BYTES`].
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The connection, in our own words.
    Connection(String),
    /// The answer is larger than [`MAX_BODY_BYTES`].
    TooLarge,
}

/// The way to endpoints. The caller bounds the time.
pub trait Network: fmt::Debug + Send + Sync {
    /// Opens a WebSocket.
    fn dial(&self, url: &SecretString) -> BoxFuture<'static, Result<Socket, Broken>>;

    /// Posts one JSON body.
    fn post(&self, url: &SecretString, body: String) -> BoxFuture<'static, Result<HttpAnswer, Broken>>;
}

/// The machine's network.
#[derive(Debug, Clone)]
pub struct Internet {
    client: reqwest::Client,
}

impl Internet {
    /// Its HTTP connections are kept alive, so that requests in flight together run in parallel.
    ///
    /// # Errors
    /// [`ChainError::Settings`] where the TLS provider of the process is not installed.
    pub fn new() -> Result<Self, ChainError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .tcp_nodelay(true)
            // A redirect would carry the key in the path to whoever is named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| ChainError::Settings {
                endpoint: "every endpoint".into(),
                problem: "the HTTP client cannot be made",
            })?;
        Ok(Self { client })
    }
}

impl Network for Internet {
    fn dial(&self, url: &SecretString) -> BoxFuture<'static, Result<Socket, Broken>> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_BODY_BYTES))
            .max_frame_size(Some(MAX_BODY_BYTES));
        let url = url.expose_secret().to_owned();
        Box::pin(async move {
            let dialled = tokio_tungstenite::connect_async_with_config(url, Some(config), true).await;
            match dialled {
                Ok((socket, _)) => Ok(Box::new(socket) as Socket),
                // The error may hold the URL, or an answer that echoes it.
                Err(_) => Err(Broken::Connection("cannot connect".to_owned())),
            }
        })
    }

    fn post(&self, url: &SecretString, body: String) -> BoxFuture<'static, Result<HttpAnswer, Broken>> {
        let request = self
            .client
            .post(url.expose_secret())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        Box::pin(answer(request))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<HttpAnswer, Broken> {
    let mut response = request.send().await.map_err(|error| broken(&error))?;
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    let expected = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    if expected > MAX_BODY_BYTES {
        return Err(Broken::TooLarge);
    }
    let mut body = BytesMut::with_capacity(expected);
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer {
        status: response.status().as_u16(),
        retry_after,
        body: body.freeze(),
    })
}

/// reqwest's own text names the URL, so only the causes below it are shown.
fn broken(error: &reqwest::Error) -> Broken {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, std::ptr::from_ref(error)) {
        return Broken::Connection(kind.to_owned());
    }
    Broken::Connection(format!("{kind}: {cause}"))
}

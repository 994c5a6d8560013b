//! Outward HTTP to addresses that others chose: guarded, limited, and silent about where it goes.
//!
//! Owns: which URLs and addresses are accepted, name resolution (once per connection, and connected to what was checked),
//! and the limits on time and size. Assumes nothing of the receiver. It must not follow redirects, use a proxy from the
//! environment, retry, or let a URL or a host name into an error or a log.

mod address;
mod resolve;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use address::{Reach, reach};
use resolve::{GuardedResolver, NoAddress};

/// The most of a response's body that is kept, unless the policy says otherwise.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));

/// What is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether loopback and private addresses, and plain `http`, are accepted. Link-local addresses, metadata services
    /// and multicast never are.
    pub allow_private_network: bool,
    /// The most of a response's body that is kept; the rest is not read.
    pub max_response_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_private_network: false,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }
}

/// A guarded HTTP client. Cheap to clone; connections are kept for reuse.
#[derive(Clone)]
pub struct Egress {
    client: reqwest::Client,
    policy: Policy,
}

/// What the receiver answered. A redirect is an answer like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressResponse {
    /// The HTTP status.
    pub status: u16,
    /// The seconds of a `Retry-After` header that gives seconds.
    pub retry_after: Option<Duration>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// Whether there was more of the body.
    pub truncated: bool,
}

/// Why there is no answer. No variant holds the URL, the host, or a text that could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The URL cannot be used at all.
    #[error("the URL is refused: {0}")]
    Url(&'static str),
    /// A header that HTTP cannot carry.
    #[error("a header holds characters that HTTP does not allow")]
    Header,
    /// The name has only addresses that the policy refuses, or the URL names such an address.
    #[error("the address is not on the public internet")]
    Refused,
    /// The name has no address.
    #[error("the host name does not resolve")]
    Unresolved,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::ErrorKind),
    /// The certificate is not trusted, or the handshake failed.
    #[error("the TLS handshake failed")]
    Tls,
    /// Not done in time: connecting, waiting or reading.
    #[error("timed out")]
    Timeout,
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke or the answer was not HTTP")]
    Transport,
    /// The client could not be built, for want of root certificates for instance.
    #[error("the HTTP client could not be built")]
    Client,
}

impl EgressError {
    /// Whether the same request may succeed later without anyone changing the configuration.
    #[must_use]
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Url(_) | Self::Header | Self::Refused | Self::Client)
    }
}

/// Installs the process's TLS provider. Idempotent; call it first thing, as TLS clients elsewhere need it too.
pub fn install_crypto_provider() {
    // The error means that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// A client that keeps to `policy`.
    ///
    /// # Errors
    /// [`EgressError::Client`], where the machine has no root certificates.
    pub fn new(policy: Policy) -> Result<Self, EgressError> {
        install_crypto_provider();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .dns_resolver(GuardedResolver::new(policy))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(USER_AGENT)
            .build()
            .map_err(|_| EgressError::Client)?;
        Ok(Self { client, policy })
    }

    /// Posts `body` once. `timeout` covers everything, from resolving the name to the last byte that is read.
    ///
    /// # Errors
    /// Any [`EgressError`]; an answer with an error status is an answer.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<EgressResponse, EgressError> {
        let url = self.policy.admit(url)?;
        let request = self.client.post(url).headers(header_map(headers)?).body(body);
        self.exchange(request, timeout).await
    }

    /// Gets once; otherwise as [`Egress::post`].
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<EgressResponse, EgressError> {
        let request = self.client.get(self.policy.admit(url)?);
        self.exchange(request, timeout).await
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<EgressResponse, EgressError> {
        tokio::time::timeout(timeout, read(request, self.policy.max_response_bytes))
            .await
            .unwrap_or(Err(EgressError::Timeout))
    }
}

async fn read(request: reqwest::RequestBuilder, max_bytes: usize) -> Result<EgressResponse, EgressError> {
    let mut response = request.send().await.map_err(|error| classify(&error))?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    let mut truncated = false;
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        let room = max_bytes - body.len();
        if chunk.len() > room {
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            truncated = true;
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(EgressResponse {
        status,
        retry_after,
        body,
        truncated,
    })
}

impl Policy {
    fn admits(self, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Global => true,
            Reach::Private => self.allow_private_network,
            Reach::Never => false,
        }
    }

    /// The URL, if it may be asked at all. Names are checked when they are resolved; a literal address never reaches the
    /// resolver, so it is checked here. Parsing turns every spelling of one (`0x7f.1`, `2130706433`) into the address.
    fn admit(self, url: &str) -> Result<Url, EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Url("it cannot be read"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private_network => {}
            _ => return Err(EgressError::Url("it must be https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Url("it must not hold a user name or password"));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(EgressError::Url("it names no host")),
        };
        match literal {
            Some(address) if !self.admits(address) => Err(EgressError::Refused),
            _ => Ok(url),
        }
    }
}

fn header_map(headers: &[(&str, &str)]) -> Result<HeaderMap, EgressError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| EgressError::Header)?;
        let value = HeaderValue::from_str(value).map_err(|_| EgressError::Header)?;
        map.insert(name, value);
    }
    Ok(map)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Finds the cause by its type. The texts of these errors hold the URL or the host, so none of them is kept.
fn classify(error: &reqwest::Error) -> EgressError {
    let mut cause = error.source();
    let mut kind = None;
    while let Some(found) = cause {
        if let Some(none) = found.downcast_ref::<NoAddress>() {
            return match none {
                NoAddress::Refused => EgressError::Refused,
                NoAddress::Unresolved => EgressError::Unresolved,
            };
        }
        if found.is::<rustls::Error>() {
            return EgressError::Tls;
        }
        cause = match found.downcast_ref::<std::io::Error>() {
            Some(io) => {
                kind = kind.or(Some(io.kind()));
                inside(io)
            }
            None => found.source(),
        };
    }
    if error.is_timeout() {
        EgressError::Timeout
    } else if error.is_connect() {
        EgressError::Connect(kind.unwrap_or(std::io::ErrorKind::Other))
    } else {
        EgressError::Transport
    }
}

/// `source` of an I/O error steps over the error that it wraps.
fn inside(io: &std::io::Error) -> Option<&(dyn std::error::Error + 'static)> {
    io.get_ref()
        .map(|inner| inner as &(dyn std::error::Error + 'static))
}

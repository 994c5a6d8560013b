//! The API over an engine in this process, served as it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tollgate::chain::{Internet, Network};
use tollgate::checkout::CheckoutProvider;
use tollgate::engine::Engine;
use tollgate::health::Health;
use tollgate::jwt::Verifier;
use tollgate::{api, app, config};

use super::http_client;

/// The API over an engine, on a port of its own.
pub struct Served {
    pub address: SocketAddr,
    http: reqwest::Client,
}

impl Served {
    pub async fn over(engine: &Engine) -> Self {
        let checkout = config::Checkout {
            api: None,
            business_secrets: Vec::new(),
            commerce_secrets: Vec::new(),
            tolerance: Duration::from_mins(5),
        };
        Self::selling(engine, (checkout, None)).await
    }

    /// With somebody who hosts checkouts.
    pub async fn selling(
        engine: &Engine,
        (checkout, provider): (config::Checkout, Option<Arc<dyn CheckoutProvider>>),
    ) -> Self {
        tollgate::egress::install_crypto_provider();
        let network: Arc<dyn Network> = Arc::new(Internet::new().unwrap());
        let server = config::Server {
            listen: ([127, 0, 0, 1], 0).into(),
            metrics_listen: ([127, 0, 0, 1], 0).into(),
            max_body_bytes: 1024,
            request_timeout: Duration::from_secs(10),
            requests_per_second: 1_000,
            max_event_streams: 100,
            public_url: None,
            allowed_origins: Vec::new(),
        };
        let stripe = config::Stripe {
            webhook_secrets: Vec::new(),
            tolerance: Duration::from_mins(5),
        };
        let tokens = Arc::new(Verifier::new(no_tokens(), None).unwrap());
        let settings = api::Settings {
            server,
            stripe,
            checkout,
            provider,
            tokens,
            looks: app::looks(engine, &network),
            receipts: config::Receipts {
                ttl: Duration::from_mins(5),
            },
        };
        let router = api::router(engine.clone(), settings, Health::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            http: http_client(),
        }
    }

    pub fn page(&self, charge: &str) -> String {
        format!("http://{}/pay/{charge}", self.address)
    }

    /// Asks with a key, for a tenant; it must be granted.
    pub async fn get(&self, key: &str, tenant: &str, path: &str) -> Value {
        let request = self.http.get(format!("http://{}{path}", self.address));
        let request = request.bearer_auth(key).header("x-tenant-id", tenant);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// Nobody's tokens are believed.
fn no_tokens() -> config::Jwt {
    let claim = |name: &str| config::ClaimPath(vec![name.to_owned()]);
    config::Jwt {
        hs256_secrets: Vec::new(),
        jwks: None,
        algorithms: Vec::new(),
        issuer: None,
        audiences: Vec::new(),
        user_claim: claim("sub"),
        tenant_claim: claim("tenant"),
        role_claim: claim("role"),
        default_role: None,
        leeway: Duration::from_secs(30),
        requests_per_second: 1,
    }
}

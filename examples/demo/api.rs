//! The service's API as a chat backend calls it: with an API key, and nothing but what is published.

use alloy::primitives::U256;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::http::{Answer, Http};

/// An amount of a token.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    /// In units, `15.001234`.
    pub amount: String,
    base_units: String,
}

impl Amount {
    /// In base units.
    pub fn base_units(&self) -> Outcome<U256> {
        Ok(self.base_units.parse()?)
    }
}

/// A token.
#[derive(Clone, Deserialize)]
pub struct Token {
    /// Its contract.
    pub address: String,
    /// What people call it.
    pub symbol: String,
}

/// A request to pay.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// Its id.
    pub id: String,
    /// Who is charged.
    pub tenant_id: String,
    /// `open`, `detected`, `confirming`, `paid` …
    pub state: String,
    /// What is remarkable.
    pub flags: Vec<String>,
    /// The token to pay in.
    pub token: Token,
    /// Where to pay to.
    pub treasury: String,
    /// What to pay.
    pub due: Amount,
    /// What was seen in proven blocks.
    pub seen: Amount,
    /// What is confirmed.
    pub confirmed: Amount,
    /// Of the newest payment.
    pub confirmations: Option<u64>,
    /// What it needs.
    pub confirmations_required: u64,
    /// The chain as CAIP-2.
    pub chain: String,
    /// Counts its changes.
    pub sequence: i64,
}

/// What a tenant has.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The plan.
    pub plan: Option<String>,
    /// Whose word it is: `crypto`, `stripe`; none for the default plan.
    pub provider: Option<String>,
    /// When the current period began,
    pub current_period_start: Option<String>,
    /// and when it ends.
    pub current_period_end: Option<String>,
    /// Counts its changes.
    pub sequence: i64,
}

impl Subscription {
    /// The plan's id, or a word for none.
    pub fn plan(&self) -> &str {
        self.plan.as_deref().unwrap_or("none")
    }
}

/// Whether something is allowed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The answer.
    pub allowed: bool,
    /// Why.
    pub code: String,
    /// The lowest plan that would allow it.
    pub upgrade_required: Option<String>,
}

/// The settled block that an answer rests on.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AsOf {
    /// Its height.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: String,
}

/// What a gate answers.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// `eligible`, `ineligible` or `unknown`.
    pub eligibility: String,
    /// One for each chain of the rule.
    pub as_of: Vec<AsOf>,
}

/// A caller with an API key.
pub struct Api {
    /// `http://127.0.0.1:8080`
    pub url: String,
    /// The key.
    pub key: String,
    http: Http,
}

impl Api {
    /// Calls the service at `url` with `key`.
    pub fn new(url: String, key: String, http: Http) -> Self {
        Self { url, key, http }
    }

    /// A charge for a month of pro.
    pub async fn create_charge(&self, tenant: &str) -> Outcome<Charge> {
        let body = json!({"plan": "pro", "interval": "monthly", "token": "USDC"});
        self.post("/api/billing/crypto/stablecoin", tenant, &body).await
    }

    /// A charge as it stands.
    pub async fn charge(&self, charge: &Charge) -> Outcome<Charge> {
        let path = format!("/api/billing/crypto/charge/{}", charge.id);
        self.get(&path, &charge.tenant_id).await
    }

    /// What a tenant has.
    pub async fn subscription(&self, tenant: &str) -> Outcome<Subscription> {
        self.get("/api/billing/subscription", tenant).await
    }

    /// Whether a tenant has a feature.
    pub async fn check(&self, tenant: &str, feature: &str) -> Outcome<Check> {
        self.post("/api/billing/check", tenant, &json!({"feature": feature}))
            .await
    }

    /// The block up to which a chain may change money and access.
    pub async fn settled(&self) -> Outcome<u64> {
        let chains: Value = self.get("/api/admin/chains", "").await?;
        Ok(chains["chains"][0]["settled"]["number"]
            .as_u64()
            .unwrap_or_default())
    }

    /// What one gate answers for a user.
    pub async fn decide(&self, tenant: &str, user: &str, gate: &str) -> Outcome<Decision> {
        #[derive(Deserialize)]
        struct Decisions {
            results: Vec<Decision>,
        }
        let body = json!({"userId": user, "gateIds": [gate]});
        let decisions: Decisions = self.post("/api/token-gates/verify", tenant, &body).await?;
        let decision = decisions.results.into_iter().next();
        decision.ok_or_else(|| Failure("the gate gave no answer".to_owned()))
    }

    /// Delivers a Stripe event, as Stripe would: no key, but a signature.
    pub async fn stripe(&self, body: &str, signature: &str) -> Outcome<Answer> {
        let name = HeaderName::from_static("stripe-signature");
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(signature)?)]);
        let url = format!("{}/api/billing/webhook", self.url);
        self.http.post(&url, headers, body.to_owned()).await
    }

    /// GET for a tenant; it must succeed.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, tenant: &str) -> Outcome<T> {
        let answer = self
            .http
            .get(&format!("{}{path}", self.url), self.headers(tenant)?)
            .await?;
        read(&format!("GET {path}"), answer)
    }

    /// POST for a tenant; it must succeed.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, tenant: &str, body: &Value) -> Outcome<T> {
        let (url, headers) = (format!("{}{path}", self.url), self.headers(tenant)?);
        let answer = self.http.post(&url, headers, body.to_string()).await?;
        read(&format!("POST {path}"), answer)
    }

    fn headers(&self, tenant: &str) -> Outcome<HeaderMap> {
        let key = HeaderValue::from_str(&format!("Bearer {}", self.key))?;
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, key)]);
        if !tenant.is_empty() {
            headers.insert(
                HeaderName::from_static("x-tenant-id"),
                HeaderValue::from_str(tenant)?,
            );
        }
        Ok(headers)
    }
}

fn read<T: DeserializeOwned>(request: &str, answer: Answer) -> Outcome<T> {
    let Answer { status, body } = answer;
    if !(200..300).contains(&status) {
        return Err(Failure(format!("{request} answered {status}: {body}")));
    }
    let text = body.to_string();
    serde_json::from_value(body).map_err(|error| {
        Failure(format!(
            "{request} answered what cannot be read ({error}): {text}"
        ))
    })
}

//! Wallets that are proven to be a user's, by Sign-In with Ethereum (EIP-4361).

use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::extract::{Id, JsonBody};
use super::problem::Problem;
use crate::domain::{ChainId, TenantId, UserId, WalletLink};
use crate::engine::{IssueNonce, IssuedNonce, LinkWallet, UnlinkWallet, rfc3339};

/// Who wants to prove a wallet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NonceRequest {
    /// The user's tenant; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The user; likewise.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
}

/// What the user's wallet must sign: an EIP-4361 message with exactly these.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NonceView {
    /// Good for one proof of this user.
    nonce: String,
    /// The domain.
    domain: String,
    /// The URI.
    uri: String,
    /// The version.
    version: &'static str,
    /// The chain ids that the message may name.
    chain_ids: Vec<u64>,
    /// The same as CAIP-2.
    chains: Vec<String>,
    /// Until when the nonce may be used.
    expires_at: String,
}

/// A signed message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LinkRequest {
    /// The user's tenant; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The user; likewise.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// The EIP-4361 message, exactly as it was signed.
    message: String,
    /// Its signature: 65 bytes in hexadecimal.
    signature: String,
}

/// A proven wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WalletView {
    /// Its address, checksummed.
    address: String,
    /// Whose it is.
    user_id: String,
    /// That user's tenant.
    tenant_id: String,
    /// When it was proven.
    linked_at: String,
}

/// A user's proven wallets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WalletsView {
    /// Oldest first.
    wallets: Vec<WalletView>,
}

impl From<IssuedNonce> for NonceView {
    fn from(issued: IssuedNonce) -> Self {
        Self {
            nonce: issued.nonce,
            domain: issued.domain,
            uri: issued.uri,
            version: "1",
            chain_ids: issued.chains.iter().map(|chain| chain.0).collect(),
            chains: issued.chains.into_iter().map(ChainId::caip2).collect(),
            expires_at: rfc3339(issued.expires_at),
        }
    }
}

impl From<WalletLink> for WalletView {
    fn from(link: WalletLink) -> Self {
        Self {
            address: link.address.to_checksum(None),
            user_id: link.user.to_string(),
            tenant_id: link.tenant.to_string(),
            linked_at: rfc3339(link.linked_at),
        }
    }
}

/// A nonce for one proof
#[utoipa::path(
    post,
    path = "/api/wallets/nonce",
    operation_id = "issue_nonce",
    tag = "wallets",
    params(NamedInQuery, NamedInHeaders),
    request_body = NonceRequest,
    responses((status = 200, body = NonceView))
)]
pub(super) async fn nonce(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<NonceRequest>,
) -> Result<Json<NonceView>, Problem> {
    let command = IssueNonce {
        origin: asker.origin(),
        tenant: asker.tenant(body.tenant_id.as_ref())?,
        user: asker.user(body.user_id.as_ref())?,
    };
    Ok(Json(app.engine.execute(command).await?.into()))
}

/// Links the wallet that signed to its user
#[utoipa::path(
    post,
    path = "/api/wallets/link",
    operation_id = "link_wallet",
    tag = "wallets",
    params(NamedInQuery, NamedInHeaders),
    request_body = LinkRequest,
    responses((status = 200, body = WalletView))
)]
pub(super) async fn link(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<LinkRequest>,
) -> Result<Json<WalletView>, Problem> {
    let command = LinkWallet {
        origin: asker.origin(),
        tenant: asker.tenant(body.tenant_id.as_ref())?,
        user: asker.user(body.user_id.as_ref())?,
        message: body.message,
        signature: body.signature,
    };
    Ok(Json(app.engine.execute(command).await?.into()))
}

/// A user's proven wallets
#[utoipa::path(
    get,
    path = "/api/wallets",
    operation_id = "list_wallets",
    tag = "wallets",
    params(NamedInQuery, NamedInHeaders),
    responses((status = 200, body = WalletsView))
)]
pub(super) async fn list(State(app): State<Shared>, asker: Asker) -> Result<Json<WalletsView>, Problem> {
    let (tenant, user) = (asker.tenant(None)?, asker.user(None)?);
    let links = app.engine.wallet_links(&tenant, &user).await?;
    let wallets = links.into_iter().map(WalletView::from).collect();
    Ok(Json(WalletsView { wallets }))
}

/// Takes a wallet from its user
///
/// It lets the user in nowhere any more, and nobody else for `wallets.relink_after`; its user may prove it again at once.
#[utoipa::path(
    delete,
    path = "/api/wallets/{address}",
    operation_id = "unlink_wallet",
    tag = "wallets",
    params(("address" = String, Path, description = "The wallet."), NamedInQuery, NamedInHeaders),
    responses((status = 204))
)]
pub(super) async fn unlink(
    State(app): State<Shared>,
    asker: Asker,
    Id(address): Id<Address>,
) -> Result<StatusCode, Problem> {
    let command = UnlinkWallet {
        origin: asker.origin(),
        tenant: asker.tenant(None)?,
        user: asker.user(None)?,
        address,
    };
    app.engine.execute(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

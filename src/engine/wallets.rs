//! The proof that a wallet is a user's, and its end.

use alloy::primitives::Address;
use serde_json::json;

use super::answers::Change;
use super::view::rfc3339;
use super::work::{Command, Origin, Work};
use super::{EngineError, random_id};
use crate::domain::{ChainId, Millis, TenantId, UserId, WalletLink};
use crate::store::{self, Nonce};
use crate::wallet::{self, Expected, SiweError};

/// The most wallets of one user.
const MAX_WALLETS: usize = 50;

/// Nonces of one user: one more, and the oldest is forgotten.
const MAX_NONCES: i64 = 20;

/// Used and expired nonces are forgotten after a day.
const FORGET_NONCES_MS: i64 = 24 * 60 * 60 * 1000;

/// Gives a user a nonce for one proof.
#[derive(Debug, Clone)]
pub struct IssueNonce {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
}

/// A nonce, and what a message must say with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedNonce {
    /// The nonce.
    pub nonce: String,
    /// The domain that the message must name.
    pub domain: String,
    /// The URI that the message must name.
    pub uri: String,
    /// The chains that the message may name.
    pub chains: Vec<ChainId>,
    /// Until when it may be used.
    pub expires_at: Millis,
}

impl Command for IssueNonce {
    type Output = IssuedNonce;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<IssuedNonce, EngineError> {
        let settings = work.settings;
        let ttl_ms = i64::try_from(settings.wallets.nonce_ttl.as_millis()).unwrap_or(i64::MAX);
        let text = random_id("")?;
        let nonce = Nonce {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            expires_at: work.now.saturating_add(ttl_ms),
            used_at: None,
        };
        work.tx
            .insert_nonce(&text, &nonce, (work.now - FORGET_NONCES_MS, MAX_NONCES - 1))
            .await?;
        Ok(IssuedNonce {
            nonce: text,
            domain: settings.wallets.domain.clone(),
            uri: settings.wallets.uri.clone(),
            chains: settings.chains.iter().map(|chain| chain.id).collect(),
            expires_at: nonce.expires_at,
        })
    }
}

/// Links a wallet to the user whose nonce its owner signed.
#[derive(Debug, Clone)]
pub struct LinkWallet {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The EIP-4361 message.
    pub message: String,
    /// Its signature, 65 bytes in hexadecimal.
    pub signature: String,
}

impl Command for LinkWallet {
    type Output = WalletLink;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<WalletLink, EngineError> {
        let unknown = || EngineError::invalid("message", "names a nonce that is unknown, used, or expired");
        let text = wallet::nonce_of(&self.message).map_err(|error| refused(&error))?;
        let nonce = store::nonce(work.tx.conn(), &text).await?.ok_or_else(unknown)?;
        let ours = nonce.tenant == self.tenant && nonce.user == self.user;
        if !ours || nonce.used_at.is_some() || nonce.expires_at <= work.now {
            return Err(unknown());
        }
        let address = self.verify(work, &text)?;
        if !work.tx.use_nonce(&text, work.now).await? {
            return Err(unknown());
        }
        self.link(work, address, &text).await
    }
}

/// The signature is judged last: any other fault is the message's.
fn refused(error: &SiweError) -> EngineError {
    let of_signature = matches!(
        error,
        SiweError::SignatureNotHex
            | SiweError::SignatureLength
            | SiweError::RecoveryId
            | SiweError::HighS
            | SiweError::NotThisKey
    );
    let field = if of_signature { "signature" } else { "message" };
    EngineError::invalid(field, format!("is refused: {error}"))
}

impl LinkWallet {
    fn verify(&self, work: &Work<'_>, nonce: &str) -> Result<Address, EngineError> {
        let settings = work.settings;
        let chain_ids: Vec<ChainId> = settings.chains.iter().map(|chain| chain.id).collect();
        let expected = Expected {
            domain: &settings.wallets.domain,
            uri: &settings.wallets.uri,
            chains: &chain_ids,
            nonce,
            nonce_lifetime: settings.wallets.nonce_ttl,
            now: work.now,
        };
        wallet::verify(&self.message, &self.signature, &expected).map_err(|error| refused(&error))
    }

    async fn link(
        &self,
        work: &mut Work<'_>,
        address: Address,
        nonce: &str,
    ) -> Result<WalletLink, EngineError> {
        if let Some(known) = store::wallet_link(work.tx.conn(), &self.tenant, address).await? {
            if known.user == self.user {
                return Ok(known);
            }
            return Err(EngineError::Conflict {
                code: "WALLET_TAKEN",
                problem: "this wallet is linked to another user".to_owned(),
            });
        }
        self.check_cooled_down(work, address).await?;
        let linked = store::wallet_links_of(work.tx.conn(), &self.tenant, &self.user).await?;
        if linked.len() >= MAX_WALLETS {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_WALLETS",
                problem: format!("a user has at most {MAX_WALLETS} wallets"),
            });
        }
        let link = WalletLink {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            address,
            linked_at: work.now,
        };
        work.tx.insert_wallet_link(&link).await?;
        let after = json!({"tenantId": link.tenant, "userId": link.user, "nonce": nonce});
        work.audit("wallet.link", format!("wallet:{address}"), (None, Some(after)))
            .await?;
        work.publish(Change::Wallet(link.clone()));
        Ok(link)
    }

    /// A wallet that lets one user in after another within minutes lets everybody in.
    async fn check_cooled_down(&self, work: &mut Work<'_>, address: Address) -> Result<(), EngineError> {
        let Some(release) = store::wallet_release(work.tx.conn(), &self.tenant, address).await? else {
            return Ok(());
        };
        let free_at = release.released_at.saturating_add(relink_after_ms(work));
        if release.user == self.user || free_at <= work.now {
            return Ok(());
        }
        Err(EngineError::Conflict {
            code: "WALLET_COOLING_DOWN",
            problem: format!(
                "this wallet was another user's: it may be linked from {} on",
                rfc3339(free_at)
            ),
        })
    }
}

fn relink_after_ms(work: &Work<'_>) -> Millis {
    i64::try_from(work.settings.wallets.relink_after.as_millis()).unwrap_or(i64::MAX)
}

/// Takes a wallet from its user. It proves nothing of theirs any more.
#[derive(Debug, Clone)]
pub struct UnlinkWallet {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The wallet.
    pub address: Address,
}

impl Command for UnlinkWallet {
    type Output = ();

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let link = store::wallet_link(work.tx.conn(), &self.tenant, self.address).await?;
        let link = link.filter(|link| link.user == self.user);
        let link = link.ok_or(EngineError::NotFound("wallet"))?;
        let forget_until = work.now.saturating_sub(relink_after_ms(work));
        work.tx.release_wallet(&link, work.now, forget_until).await?;
        let before =
            json!({"tenantId": link.tenant, "userId": link.user, "linkedAt": rfc3339(link.linked_at)});
        work.audit(
            "wallet.unlink",
            format!("wallet:{}", self.address),
            (Some(before), None),
        )
        .await?;
        work.publish(Change::WalletReleased(link));
        Ok(())
    }
}

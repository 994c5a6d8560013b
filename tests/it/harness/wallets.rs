//! Wallets with a key, and the proof that one is a user's.

use alloy::primitives::Address;
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use tollgate::domain::{Millis, WalletLink};
use tollgate::engine::{EngineError, IssueNonce, LinkWallet, UnlinkWallet, rfc3339};

use super::world::{CHAIN, DOMAIN, URI, World, origin, tenant};

/// A plain key.
pub struct Wallet(PrivateKeySigner);

impl Wallet {
    /// The key that consists of this byte.
    pub fn of(byte: u8) -> Self {
        Self(PrivateKeySigner::from_slice(&[byte; 32]).unwrap())
    }

    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// An EIP-4361 message with its signature.
    pub fn sign(&self, nonce: &str, issued_at: Millis) -> (String, String) {
        self.sign_at((DOMAIN, URI), nonce, issued_at)
    }

    /// The same for another domain.
    pub fn sign_at(&self, (domain, uri): (&str, &str), nonce: &str, issued_at: Millis) -> (String, String) {
        let address = self.address().to_checksum(None);
        let issued_at = rfc3339(issued_at);
        let message = format!(
            "{domain} wants you to sign in with your Ethereum account:\n{address}\n\n\nURI: {uri}\nVersion: 1\n\
             Chain ID: {CHAIN}\nNonce: {nonce}\nIssued At: {issued_at}"
        );
        let signature = self.0.sign_message_sync(message.as_bytes()).unwrap();
        (message, format!("0x{}", hex::encode(signature.as_bytes())))
    }
}

impl World {
    /// Gives a user of a tenant a nonce.
    pub async fn nonce(&self, of: &str, user: &str) -> String {
        let issue = IssueNonce {
            origin: origin(),
            tenant: tenant(of),
            user: user.parse().unwrap(),
        };
        self.engine.execute(issue).await.unwrap().nonce
    }

    /// Sends a proof as a user.
    pub async fn prove(
        &self,
        of: &str,
        user: &str,
        (message, signature): (String, String),
    ) -> Result<WalletLink, EngineError> {
        let link = LinkWallet {
            origin: origin(),
            tenant: tenant(of),
            user: user.parse().unwrap(),
            message,
            signature,
        };
        self.engine.execute(link).await
    }

    /// Takes a wallet from a user.
    pub async fn unlink(&self, of: &str, user: &str, wallet: &Wallet) -> Result<(), EngineError> {
        let unlink = UnlinkWallet {
            origin: origin(),
            tenant: tenant(of),
            user: user.parse().unwrap(),
            address: wallet.address(),
        };
        self.engine.execute(unlink).await
    }

    /// Links a wallet to a user, as it should go.
    pub async fn link(&self, of: &str, user: &str, wallet: &Wallet) {
        let nonce = self.nonce(of, user).await;
        let proof = wallet.sign(&nonce, self.clock.now_ms());
        self.prove(of, user, proof).await.unwrap();
    }
}

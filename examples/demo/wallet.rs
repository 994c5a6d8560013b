//! The wallet of the story's user: a key that is made for one run and never leaves it.

use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::eips::eip2930::AccessList;
use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::anvil::{Anvil, Receipt};
use crate::failure::Outcome;

/// One ether, for gas.
const PURSE_WEI: u128 = 1_000_000_000_000_000_000;
const GAS_LIMIT: u64 = 200_000;

/// What the service wants to be signed, from `POST /api/wallets/nonce`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Good once.
    pub nonce: String,
    domain: String,
    uri: String,
    chain_ids: Vec<u64>,
}

/// A plain key.
pub struct Wallet(PrivateKeySigner);

impl Wallet {
    /// A new one, with some ether.
    pub async fn new(anvil: &Anvil) -> Outcome<Self> {
        let wallet = Self(PrivateKeySigner::random());
        let purse = U256::from(PURSE_WEI);
        let params = json!([wallet.address(), purse]);
        anvil.rpc::<Value>("anvil_setBalance", params).await?;
        Ok(wallet)
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs in with Ethereum: the message (EIP-4361) and its signature (EIP-191).
    pub fn sign_in(&self, invitation: &Invitation) -> Outcome<(String, String)> {
        let Invitation {
            nonce,
            domain,
            uri,
            chain_ids,
        } = invitation;
        let chain_id = chain_ids.first().copied().unwrap_or_default();
        let address = self.address().to_checksum(None);
        let issued_at = jiff::Timestamp::from_millisecond(Clock::system().now_ms())?;
        let message = format!(
            "{domain} wants you to sign in with your Ethereum account:\n{address}\n\n\
             Link this wallet to your account.\n\n\
             URI: {uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued_at:.3}"
        );
        let signature = self.0.sign_message_sync(message.as_bytes())?;
        Ok((message, Bytes::from(signature.as_bytes()).to_string()))
    }

    /// Sends a call that it signed itself, and waits until it is mined.
    pub async fn send(&self, anvil: &Anvil, contract: Address, call: &impl SolCall) -> Outcome<Receipt> {
        let chain_id: U64 = anvil.rpc("eth_chainId", json!([])).await?;
        let nonce: U64 = anvil
            .rpc("eth_getTransactionCount", json!([self.address(), "latest"]))
            .await?;
        let price: U256 = anvil.rpc("eth_gasPrice", json!([])).await?;
        let transaction = TxEip1559 {
            chain_id: chain_id.to(),
            nonce: nonce.to(),
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: price.saturating_to::<u128>().saturating_mul(2),
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(contract),
            value: U256::ZERO,
            access_list: AccessList::default(),
            input: call.abi_encode().into(),
        };
        let signature = self.0.sign_hash_sync(&transaction.signature_hash())?;
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        let raw = Bytes::from(signed.encoded_2718());
        let hash: B256 = anvil.rpc("eth_sendRawTransaction", json!([raw])).await?;
        anvil.receipt(hash).await
    }
}

//! An anvil that mines each transaction at once, with the test token, somebody who pays and somebody who is paid.

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use tollgate::config;
use tollgate::domain::{Amount, Token};

use super::Outcome;
use super::anvil::{Anvil, TestUsdc};
use super::chain::{CHAIN, Place};

/// Base units of the smallest payment.
const FIRST_AMOUNT: u64 = 1_000_000;
/// Enough for every call, without an estimate.
const GAS: u64 = 15_000_000;

pub struct Scene {
    pub anvil: Anvil,
    pub usdc: Address,
    pub payer: Address,
    pub treasury: Address,
}

impl Scene {
    pub async fn new() -> Outcome<Self> {
        let anvil = Anvil::start(&[]).await?;
        let accounts = anvil.accounts().await?;
        let [payer, treasury, ..] = *accounts.as_slice() else {
            return Err("anvil has too few accounts".into());
        };
        let usdc = anvil.deploy(payer, "TestUSDC").await?;
        let scene = Self {
            anvil,
            usdc,
            payer,
            treasury,
        };
        let amount = U256::from(u64::MAX);
        scene
            .call(usdc, &TestUsdc::mintCall { to: payer, amount })
            .await?;
        Ok(scene)
    }

    /// The chain that sells for the token, from its first block on.
    pub fn settings(&self, place: &Place) -> config::Chain {
        let token = Token {
            chain: CHAIN,
            address: self.usdc,
            symbol: "USDC".to_owned(),
            unit: "USD".to_owned(),
            decimals: 6,
            dust: Amount::from(10_000),
        };
        place.chain(Some(0), Some(self.treasury), vec![token])
    }

    /// A payment that differs from those with another index.
    pub fn payment(&self, index: u64) -> TestUsdc::transferCall {
        TestUsdc::transferCall {
            to: self.treasury,
            value: U256::from(FIRST_AMOUNT + index),
        }
    }

    /// A block with one payment.
    pub async fn pay(&self, index: u64) -> Outcome {
        self.call(self.usdc, &self.payment(index)).await
    }

    /// One call of the payer, in a block of its own.
    pub async fn call(&self, to: Address, call: &impl SolCall) -> Outcome {
        let sent = self.anvil.send(self.payer, to, call, Some(GAS)).await?;
        self.anvil.receipt(&sent).await.map(drop)
    }

    /// Two calls of the payer in one block.
    pub async fn call_two(
        &self,
        (first, to_first): (&impl SolCall, Address),
        (second, to_second): (&impl SolCall, Address),
    ) -> Outcome {
        self.anvil.set_automine(false).await?;
        let sent = [
            self.anvil.send(self.payer, to_first, first, Some(GAS)).await?,
            self.anvil.send(self.payer, to_second, second, Some(GAS)).await?,
        ];
        self.anvil.mine().await?;
        for sent in sent {
            self.anvil.receipt(&sent).await?;
        }
        self.anvil.set_automine(true).await
    }
}

//! What can be paid in: listed for everybody, and refused while its issuer has stopped it.

use serde_json::json;

use super::*;
use crate::domain::Hindrance;
use crate::engine::HearTokens;

const CREATE: &str = "/api/billing/crypto/stablecoin?tenantId=acme";

impl Api {
    /// What the token's contract says after the newest block.
    async fn hear(&self, fence: i64, hindrance: Hindrance, holds: bool) {
        let hear = HearTokens {
            chain: ANVIL,
            fence,
            block: BlockRef {
                number: 3,
                hash: hash(3),
            },
            said: vec![(USDC, hindrance, holds)],
        };
        self.engine.execute(hear).await.unwrap();
    }

    async fn lead(&self) -> i64 {
        let open = OpenChain {
            chain: ANVIL,
            genesis: B256::ZERO,
            head: 3,
        };
        self.engine.execute(open).await.unwrap().fence
    }
}

#[tokio::test]
async fn a_token_that_nobody_can_pay_in_is_listed_so_and_refused() {
    let api = Api::open().await;
    let fence = api.lead().await;
    let listed = api.get("/api/billing/plans").await.ok()["tokens"].clone();
    let offered = json!([{
        "chainId": 31337, "chain": "eip155:31337", "address": USDC.to_checksum(None), "symbol": "USDC", "decimals": 6,
        "unit": "USD", "offered": true, "hindrances": [],
    }]);
    assert_eq!(listed, offered);
    let open = api.post(CREATE, json!({"plan": "pro"})).await.ok()["id"].clone();
    let path = format!(
        "/api/billing/crypto/charge/{}?tenantId=acme",
        open.as_str().unwrap()
    );
    for (hindrance, code) in [
        (Hindrance::TokenPaused, "TOKEN_PAUSED"),
        (Hindrance::TreasuryBlacklisted, "TREASURY_BLACKLISTED"),
    ] {
        api.hear(fence, hindrance, true).await;
        let refused = api.post(CREATE, json!({"plan": "pro", "token": "USDC"})).await;
        assert!(refused.refused(409, code).contains("USDC"));
        let plans = api.get("/api/billing/plans").await;
        let token = &plans.ok()["tokens"][0];
        assert_eq!(
            (&token["offered"], &token["hindrances"]),
            (&json!(false), &json!([hindrance]))
        );
        let chains = api.get("/api/admin/chains").await;
        assert_eq!(
            chains.ok()["chains"][0]["tokens"][0]["hindrances"],
            json!([hindrance])
        );
        assert_eq!(api.get(&path).await.ok()["flags"], json!([hindrance]));
        let all = api.get("/api/billing/crypto/charges?tenantId=acme").await;
        assert_eq!(all.ok()["charges"][0]["flags"], json!([hindrance]));
        api.hear(fence, hindrance, false).await;
    }
    assert_eq!(api.get(&path).await.ok()["flags"], json!([]));
    let again = api.post(CREATE, json!({"plan": "pro"})).await;
    assert_eq!(again.ok()["id"], open);
}

#[tokio::test]
async fn where_payments_are_switched_off_no_token_is_listed() {
    let off = |config: &mut Config| config.payments.enabled = false;
    let api = Api::with(off, Catalogue::shipped(&[]).unwrap()).await;
    assert_eq!(api.get("/api/billing/plans").await.ok()["tokens"], json!([]));
}

//! Receipts, believed or not by a third party's library (jose) as the README tells chat backends to.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollgate::engine::{CreateKey, MakeReceiptKey, Scope, rfc3339};

use crate::harness::blocks::{nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::served::Served;
use crate::harness::wallets::Wallet;
use crate::harness::world::World;
use crate::harness::{http_client, repository};

on_both!(
    a_receipt_names_the_gates_that_let_the_user_in_and_is_believed_until_it_ends,
    a_key_that_was_replaced_verifies_until_its_receipts_have_ended,
    a_key_that_was_revoked_verifies_nothing,
    another_instance_publishes_the_key_that_this_one_made,
);

/// A chain on which alice has what the gate asks for, and bob has not.
struct Scene {
    world: World,
    served: Served,
    key: String,
    gate: String,
}

impl Scene {
    async fn open(database: Database) -> Self {
        let mut world = World::open(database).await;
        let made = world.watch(MEMBERS).await;
        world.activate(&[MEMBERS]).await.unwrap();
        let wallet = Wallet::of(1);
        world.link("acme", "alice", &wallet).await;
        world.link("acme", "bob", &Wallet::of(2)).await;
        world
            .mine(&[tx(1, vec![nft(MEMBERS, NOBODY, wallet.address(), 1)])])
            .await;
        world.mine_empty(3).await;
        let command = CreateKey {
            name: "chat".to_owned(),
            scopes: vec![Scope::Check],
        };
        let key = world.engine.execute(command).await.unwrap().key;
        let served = Served::over(&world.engine).await;
        let gate = made.answer["id"].as_str().unwrap().to_owned();
        Self {
            world,
            served,
            key,
            gate,
        }
    }

    async fn ask(&self, user: &str) -> Value {
        let url = format!("http://{}/api/token-gates/receipt", self.served.address);
        let body = json!({"tenantId": "acme", "userId": user}).to_string();
        let request = http_client().post(url).bearer_auth(&self.key);
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn receipt(&self) -> String {
        self.ask("alice").await["receipt"].as_str().unwrap().to_owned()
    }

    /// What who holds the published keys makes of a receipt.
    fn judged(&self, receipt: &str, [tenant, user, gate]: [&str; 3]) -> Value {
        let mut node = Command::new("node")
            .arg(repository("anvil-fixtures/receipt.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = json!({
            "keysUrl": format!("http://{}/.well-known/jwks.json", self.served.address),
            "receipt": receipt,
            "tenant": tenant,
            "user": user,
            "gate": gate,
            "now": rfc3339(self.world.clock.now_ms()),
        });
        node.stdin
            .take()
            .unwrap()
            .write_all(input.to_string().as_bytes())
            .unwrap();
        let output = node.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Asserts what is made of a receipt of alice's.
    #[track_caller]
    fn assert_judged(&self, receipt: &str, outcome: &Value) {
        assert_eq!(self.judged(receipt, ["acme", "alice", &self.gate]), *outcome);
    }
}

async fn a_receipt_names_the_gates_that_let_the_user_in_and_is_believed_until_it_ends(database: Database) {
    let scene = Scene::open(database).await;
    let answer = scene.ask("alice").await;
    assert_eq!(
        (&answer["hasAccess"], &answer["results"][0]["eligibility"]),
        (&json!(true), &json!("eligible"))
    );
    let receipt = answer["receipt"].as_str().unwrap();
    scene.assert_judged(receipt, &json!({"lets": true}));
    for (wrong, outcome) in [
        (
            ["globex", "alice", &scene.gate],
            json!({"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"}),
        ),
        (
            ["acme", "bob", &scene.gate],
            json!({"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"}),
        ),
        (["acme", "alice", "gate_other"], json!({"lets": false})),
    ] {
        assert_eq!(scene.judged(receipt, wrong), outcome, "{wrong:?}");
    }
    let (signed, signature) = receipt.rsplit_once('.').unwrap();
    let changed = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    scene.assert_judged(
        &changed,
        &json!({"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}),
    );

    let refused = scene.ask("bob").await;
    assert_eq!(
        (&refused["receipt"], &refused["expiresAt"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(refused["results"][0]["eligibility"], "ineligible");

    scene.world.wait(5 * 60 * 1000 - 1_000);
    scene.assert_judged(receipt, &json!({"lets": true}));
    scene.world.wait(1_000);
    scene.assert_judged(receipt, &json!({"error": "ERR_JWT_EXPIRED"}));
}

async fn a_key_that_was_replaced_verifies_until_its_receipts_have_ended(database: Database) {
    let scene = Scene::open(database).await;
    let before = scene.receipt().await;
    scene.world.engine.execute(MakeReceiptKey::Next).await.unwrap();
    let after = scene.receipt().await;
    for receipt in [&before, &after] {
        scene.assert_judged(receipt, &json!({"lets": true}));
    }
    assert_eq!(scene.world.engine.receipt_keys().len(), 2);
    scene.world.wait(2 * 60 * 60 * 1000);
    assert_eq!(
        scene.world.engine.receipt_keys().len(),
        1,
        "it is published no more"
    );
    scene.world.engine.execute(MakeReceiptKey::Next).await.unwrap();
    assert_eq!(
        scene.world.engine.receipt_keys().len(),
        2,
        "and is forgotten with the next"
    );
    scene.world.assert_reload_is_identity().await;
}

async fn a_key_that_was_revoked_verifies_nothing(database: Database) {
    let scene = Scene::open(database).await;
    let before = scene.receipt().await;
    scene.world.engine.execute(MakeReceiptKey::Only).await.unwrap();
    scene.assert_judged(&before, &json!({"error": "ERR_JWKS_NO_MATCHING_KEY"}));
    scene.assert_judged(&scene.receipt().await, &json!({"lets": true}));
    assert_eq!(scene.world.action_count("receipt_key.create").await, 2);
}

async fn another_instance_publishes_the_key_that_this_one_made(database: Database) {
    let scene = Scene::open(database).await;
    let other = scene.world.another_engine().await;
    assert_eq!(other.receipt_keys(), []);
    let signer = scene.world.engine.receipt_signer().await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!(other.receipt_keys(), [signer.public().clone()]);
    let same = other.receipt_signer().await.unwrap();
    assert_eq!(same.kid(), signer.kid(), "one key for all");
}

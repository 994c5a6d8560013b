//! Wallets, proven by the key that they belong to.

use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use serde_json::json;

use super::*;
use crate::engine::rfc3339;

const NONCE: &str = "/api/wallets/nonce?tenantId=acme&userId=alice";
const LINK: &str = "/api/wallets/link?tenantId=acme&userId=alice";
const LIST: &str = "/api/wallets?tenantId=acme";

fn signed(nonce: &Value, signer: &PrivateKeySigner) -> Value {
    let message = format!(
        "{} wants you to sign in with your Ethereum account:\n{}\n\n\nURI: {}\nVersion: 1\nChain ID: {}\nNonce: {}\n\
         Issued At: {}",
        nonce["domain"].as_str().unwrap(),
        signer.address().to_checksum(None),
        nonce["uri"].as_str().unwrap(),
        nonce["chainIds"][0],
        nonce["nonce"].as_str().unwrap(),
        rfc3339(NOW),
    );
    let signature = signer.sign_message_sync(message.as_bytes()).unwrap();
    json!({"message": message, "signature": format!("0x{}", hex::encode(signature.as_bytes()))})
}

#[tokio::test]
async fn a_signed_nonce_links_the_wallet_once() {
    let api = Api::open().await;
    let signer = PrivateKeySigner::random();
    let nonce = api.post(NONCE, json!({})).await;
    assert_eq!(nonce.ok()["expiresAt"], rfc3339(NOW + 600_000));
    assert_eq!(nonce.body["chains"], json!(["eip155:31337"]));
    let proof = signed(&nonce.body, &signer);
    let linked = api.post(LINK, proof.clone()).await;
    assert_eq!(linked.ok()["address"], signer.address().to_checksum(None));
    assert_eq!(linked.body["userId"], "alice");
    api.post(LINK, proof).await.refused_field(422, "message");
    let of_alice = api.send(
        api.request(Method::GET, LIST)
            .header("x-user-id", "alice")
            .body(Body::empty())
            .unwrap(),
    );
    assert_eq!(of_alice.await.ok()["wallets"], json!([linked.body]));
    assert_eq!(
        api.get(&format!("{LIST}&userId=bob")).await.ok()["wallets"],
        json!([])
    );
    api.get(LIST).await.refused(400, "USER_REQUIRED");
    let wallet = signer.address().to_string();
    let verify = json!({"tenantId": "acme", "userId": "alice", "walletAddress": wallet});
    assert_eq!(
        api.post("/api/token-gates/verify", verify).await.ok()["proven"],
        true
    );
}

#[tokio::test]
async fn a_wallet_is_unlinked_by_its_user() {
    let api = Api::open().await;
    let nonce = api.post(NONCE, json!({})).await;
    let linked = api
        .post(LINK, signed(nonce.ok(), &PrivateKeySigner::random()))
        .await;
    let path = format!(
        "/api/wallets/{}?tenantId=acme",
        linked.ok()["address"].as_str().unwrap()
    );
    api.delete(&path).await.refused(400, "USER_REQUIRED");
    for wrong in [
        format!("{path}&userId=bob"),
        format!("/api/wallets/{ALICE}?tenantId=acme&userId=alice"),
        "/api/wallets/0x12?tenantId=acme&userId=alice".to_owned(),
    ] {
        api.delete(&wrong).await.refused(404, "WALLET_NOT_FOUND");
    }
    assert_eq!(api.delete(&format!("{path}&userId=alice")).await.status, 204);
    let left = api.get(&format!("{LIST}&userId=alice")).await;
    assert_eq!(left.ok()["wallets"], json!([]));
}

#[tokio::test]
async fn a_proof_of_another_user_key_or_time_links_nothing() {
    let api = Api::open().await;
    let signer = PrivateKeySigner::random();
    let nonce = api.post(NONCE, json!({})).await;
    let proof = signed(nonce.ok(), &signer);
    let of_bob = LINK.replace("alice", "bob");
    api.post(&of_bob, proof.clone())
        .await
        .refused_field(422, "message");
    let mut forged = proof.clone();
    forged["signature"] = signed(&nonce.body, &PrivateKeySigner::random())["signature"].clone();
    api.post(LINK, forged).await.refused_field(422, "signature");
    for (field, value) in [
        ("signature", json!("0x12")),
        ("signature", json!("nonsense")),
        ("message", json!("please")),
        ("message", json!("x".repeat(5000))),
    ] {
        let mut wrong = proof.clone();
        wrong[field] = value;
        api.post(LINK, wrong).await.refused_field(422, field);
    }
    api.post(LINK, json!({"message": "x"}))
        .await
        .refused_field(400, "signature");
    api.post("/api/wallets/nonce?tenantId=acme", json!({}))
        .await
        .refused(400, "USER_REQUIRED");
    api.clock.advance(600_000);
    api.post(LINK, proof).await.refused_field(422, "message");
}

#[tokio::test]
async fn a_wallet_belongs_to_one_user() {
    let api = Api::open().await;
    let signer = PrivateKeySigner::random();
    let nonce = api.post(NONCE, json!({})).await;
    api.post(LINK, signed(nonce.ok(), &signer)).await.ok();
    let nonce = api.post(&NONCE.replace("alice", "bob"), json!({})).await;
    let taken = api
        .post(&LINK.replace("alice", "bob"), signed(nonce.ok(), &signer))
        .await;
    taken.refused(409, "WALLET_TAKEN");
}

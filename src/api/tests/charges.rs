//! On-chain charges: made once, shown to their tenant, cancelled.

use serde_json::json;

use super::*;

const CREATE: &str = "/api/billing/crypto/stablecoin?tenantId=acme";

fn charge_path(id: &Value, tenant: &str) -> String {
    format!(
        "/api/billing/crypto/charge/{}?tenantId={tenant}",
        id.as_str().unwrap()
    )
}

#[tokio::test]
async fn a_charge_carries_all_that_a_wallet_needs() {
    let api = Api::open().await;
    let answer = api
        .post(
            CREATE,
            json!({"planId": "professional", "interval": "yearly", "chainId": "0x7a69"}),
        )
        .await;
    assert_eq!(answer.status, 201);
    let charge = answer.ok();
    assert_eq!(charge["plan"], "pro");
    assert_eq!(charge["interval"], "year");
    assert_eq!(charge["state"], "open");
    assert_eq!(charge["chain"], "eip155:31337");
    assert_eq!(charge["treasury"], TREASURY.to_checksum(None));
    assert_eq!(charge["token"]["address"], USDC.to_checksum(None));
    let due = charge["due"]["baseUnits"]
        .as_str()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!((150_000_001..=150_009_999).contains(&due), "{due}");
    assert!(
        charge["paymentUri"]
            .as_str()
            .unwrap()
            .ends_with(&format!("uint256={due}"))
    );
    let path = charge_path(&charge["id"], "acme");
    assert_eq!(format!("{}?tenantId=acme", answer.header("location")), path);
    assert_eq!(api.get(&path).await.ok()["id"], charge["id"]);
    let cancelled = api.delete(&path).await;
    assert_eq!(cancelled.ok()["state"], "cancelled");
    assert_eq!(api.delete(&path).await.ok()["state"], "cancelled");
}

#[tokio::test]
async fn asking_again_gives_the_open_charge_by_either_path() {
    let api = Api::open().await;
    let body = json!({"plan": "pro", "chainId": 31337, "token": "usdc"});
    let first = api.post(CREATE, body.clone()).await;
    let again = api
        .post("/api/billing/crypto/payment?tenantId=acme", body.clone())
        .await;
    assert_eq!(first.ok()["id"], again.ok()["id"]);
    assert_eq!(again.status, 201);
    let mut of_a_user = body;
    of_a_user["userId"] = json!("alice");
    let other = api.post(CREATE, of_a_user).await;
    assert_ne!(first.body["id"], other.ok()["id"]);
    assert_eq!(other.body["userId"], "alice");
}

#[tokio::test]
async fn a_charge_is_shown_to_its_own_tenant_only() {
    let api = Api::open().await;
    let charge = api.post(CREATE, json!({"plan": "pro"})).await;
    let path = charge_path(&charge.ok()["id"], "other");
    api.get(&path).await.refused(404, "CHARGE_NOT_FOUND");
    api.delete(&path).await.refused(404, "CHARGE_NOT_FOUND");
    for id in ["chg_0", "a%20b", "%ff", &"x".repeat(200)] {
        let path = format!("/api/billing/crypto/charge/{id}?tenantId=acme");
        api.get(&path).await.refused(404, "CHARGE_NOT_FOUND");
    }
    let nobody = charge_path(&charge.body["id"], "").replace("?tenantId=", "");
    api.get(&nobody).await.refused(400, "TENANT_REQUIRED");
}

#[tokio::test]
async fn whoever_holds_the_id_sees_that_charge_and_not_whose_it_is() {
    let mut api = Api::open().await;
    let body = json!({"plan": "pro", "userId": "alice"});
    let charge = api.post(CREATE, body).await.ok().clone();
    let id = charge["id"].as_str().unwrap();
    // 128 bits, in hexadecimal.
    assert_eq!(id.strip_prefix("chg_").unwrap().len(), 32);
    let path = format!("/api/billing/crypto/charge/{id}");
    let key = std::mem::take(&mut api.key);
    let bare = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    // Whoever they say they are: without a key it is not believed, and not looked at.
    for query in ["", "?tenantId=other", "?tenantId=acme&userId=bob"] {
        let seen = api.send(bare(&format!("{path}{query}"))).await;
        assert_eq!(seen.ok()["due"], charge["due"]);
        assert!(
            !seen.text.contains("acme") && !seen.text.contains("alice"),
            "{}",
            seen.text
        );
        assert!(seen.header("ratelimit-policy").starts_with("\"public\""));
    }
    let unknown = format!("/api/billing/crypto/charge/chg_{}", "0".repeat(32));
    api.send(bare(&unknown)).await.refused(404, "CHARGE_NOT_FOUND");
    // A credential that is shown is judged.
    api.get(&path).await.refused(401, "UNAUTHORIZED");
    api.key = api.new_key(&[Scope::Gates]).await;
    api.get(&path).await.refused(403, "SCOPE_MISSING");
    api.key = key;
    api.get(&path).await.refused(400, "TENANT_REQUIRED");
    // It is to be seen, not to be changed.
    let mut delete = bare(&path);
    *delete.method_mut() = Method::DELETE;
    api.send(delete).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn charges_are_listed_newest_first_page_by_page() {
    let api = Api::open().await;
    let mut made = Vec::new();
    for user in ["a", "b", "c", "d", "e"] {
        let charge = api.post(CREATE, json!({"plan": "pro", "userId": user})).await;
        made.insert(0, charge.ok()["id"].clone());
        api.clock.advance(1);
    }
    let of_another = "/api/billing/crypto/stablecoin?tenantId=other";
    api.post(of_another, json!({"plan": "pro"})).await.ok();
    api.delete(&charge_path(&made[1], "acme")).await.ok();
    let list = "/api/billing/crypto/charges?tenantId=acme";
    let ids = |answer: &Answer| -> Vec<Value> {
        let charges = answer.ok()["charges"].as_array().unwrap().iter();
        charges.map(|charge| charge["id"].clone()).collect()
    };
    assert_eq!(ids(&api.get(list).await), made);
    let (mut seen, mut path) = (Vec::new(), format!("{list}&limit=2"));
    loop {
        let page = api.get(&path).await;
        seen.extend(ids(&page));
        let Some(next) = page.body["nextCursor"].as_str() else {
            break;
        };
        path = format!("{list}&limit=2&cursor={next}");
    }
    assert_eq!(seen, made);
    let cancelled = api.get(&format!("{list}&state=cancelled")).await;
    assert_eq!(ids(&cancelled), made[1..2]);
    assert_eq!(ids(&api.get(&format!("{list}&userId=a")).await), made[4..]);
    for (query, field) in [
        ("state=detected", "state"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ] {
        api.get(&format!("{list}&{query}"))
            .await
            .refused_field(400, field);
    }
    let bare = Request::builder().uri(list).body(Body::empty()).unwrap();
    api.send(bare).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_charge_has_qr_codes_for_whoever_holds_its_id() {
    let api = Api::open().await;
    let charge = api.post(CREATE, json!({"plan": "pro"})).await.ok().clone();
    let path = format!(
        "/api/billing/crypto/charge/{}/qr.svg",
        charge["id"].as_str().unwrap()
    );
    let bare = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let code = api.send(bare(&path)).await;
    assert_eq!(code.status, 200);
    assert_eq!(code.header("content-type"), "image/svg+xml");
    assert!(code.header("cache-control").starts_with("private, max-age="));
    assert_eq!(code.header("content-security-policy"), "default-src 'none'");
    let title = format!("<title>{}</title>", charge["instructions"].as_str().unwrap());
    assert!(
        code.text.starts_with("<svg ") && code.text.contains(&title),
        "{}",
        code.text
    );
    let of_address = api.send(bare(&format!("{path}?of=address"))).await;
    assert!(of_address.text.contains(charge["treasury"].as_str().unwrap()));
    api.send(bare(&format!("{path}?of=me")))
        .await
        .refused_field(400, "of");
    let unknown = path.replace("chg_", "chg_0");
    api.send(bare(&unknown)).await.refused(404, "CHARGE_NOT_FOUND");
}

#[tokio::test]
async fn what_is_not_sold_is_refused_by_field() {
    let api = Api::open().await;
    for (body, field) in [
        (json!({"plan": "gold"}), "plan"),
        (json!({"plan": "free"}), "plan"),
        (json!({"plan": "custom"}), "plan"),
        (json!({"plan": "pro", "chainId": 137}), "chainId"),
        (json!({"plan": "pro", "chainId": "nonsense"}), "chainId"),
        (json!({"plan": "pro", "chainId": -1}), "chainId"),
        (json!({"plan": "pro", "chainId": 1.5}), "chainId"),
        (json!({"plan": "pro", "network": ["polygon"]}), "chainId"),
        (json!({"plan": "pro", "token": "DOGE"}), "token"),
        (json!({"plan": "pro", "token": "0x1234"}), "token"),
        (json!({"plan": "pro", "token": TREASURY.to_string()}), "token"),
    ] {
        let answer = api.post(CREATE, body.clone()).await;
        assert_eq!(answer.body["field"], field, "{body} {}", answer.text);
        answer.refused_field(422, field);
    }
}

#[tokio::test]
async fn switched_off_payments_are_a_conflict() {
    let off = |config: &mut Config| config.payments.enabled = false;
    let api = Api::with(off, Catalogue::shipped(&[]).unwrap()).await;
    api.post(CREATE, json!({"plan": "pro"}))
        .await
        .refused(409, "CRYPTO_PAYMENTS_DISABLED");
}

#[tokio::test]
async fn an_idempotency_key_gives_one_answer_for_one_request() {
    let mut api = Api::open().await;
    let key = [("idempotency-key", "k-1")];
    let body = json!({"plan": "pro"});
    let first = api.post_with(CREATE, &key, body.clone()).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    api.delete(&charge_path(&first.ok()["id"], "acme")).await.ok();
    let replayed = api.post_with(CREATE, &key, body.clone()).await;
    assert_eq!(replayed.status, 201);
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.body, first.body, "as it was answered then");
    assert_eq!(replayed.header("location"), first.header("location"));
    let other = api.post_with(CREATE, &key, json!({"plan": "enterprise"})).await;
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
    let of_a_user = [key[0], ("x-user-id", "alice")];
    api.post_with(CREATE, &of_a_user, body.clone())
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    let other_tenant = api
        .post_with("/api/billing/crypto/stablecoin?tenantId=beta", &key, body.clone())
        .await;
    assert_ne!(other_tenant.ok()["id"], first.body["id"]);
    let long = "x".repeat(256);
    for bad in ["", "a b", long.as_str()] {
        let answer = api
            .post_with(CREATE, &[("idempotency-key", bad)], body.clone())
            .await;
        answer.refused(400, "INVALID_HEADER");
    }
    api.key = api.new_key(&[Scope::Billing]).await;
    let another_caller = api.post_with(CREATE, &key, json!({"plan": "enterprise"})).await;
    assert_eq!(another_caller.header("idempotency-replayed"), "");
    another_caller.ok();
}

#[tokio::test]
async fn one_key_sent_many_times_at_once_makes_one_charge() {
    let api = Api::open().await;
    let key = [("idempotency-key", "k-1")];
    let asked = (0..10).map(|_| api.post_with(CREATE, &key, json!({"plan": "pro"})));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let first_time = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_empty());
    assert_eq!(first_time.count(), 1);
}

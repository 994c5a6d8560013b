//! Keys that were fetched: how long they are used, and who may ask for new ones.

use super::*;

fn verifier(fixture: &Fixture, max_age: Duration) -> (Arc<Verifier>, Arc<Published>) {
    let published = Arc::new(Published::new(max_age));
    let settings = Jwt {
        hs256_secrets: Vec::new(),
        jwks: Some(Jwks::Url(JwksUrl {
            url: "https://id.example.com/jwks".into(),
            refresh: Duration::from_mins(5),
            max_age,
            allow_private_network: false,
        })),
        ..fixture.settings()
    };
    let verifier = Verifier::new(settings, Some(Arc::clone(&published))).unwrap();
    (Arc::new(verifier), published)
}

const DAY: Duration = Duration::from_hours(24);

fn fetch(published: &Published, set: &Value, now: Millis) {
    published.begin();
    published.end(Some(set.to_string().as_bytes()), now).unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_any_keys_yet_nobody_is_called_a_liar() {
    let fixture = fixture();
    let (verifier, _published) = verifier(&fixture, DAY);
    let refused = verifier.verify(fixture.token("rs256"), fixture.now()).await;
    assert_eq!(refused, Err(TokenError::NoKeys));
    let secret = verifier.verify(fixture.token("alice"), fixture.now()).await;
    assert_eq!(secret, Err(TokenError::Signature), "no secret is configured");
}

#[tokio::test(start_paused = true)]
async fn keys_are_replaced_by_what_holds_keys_and_by_nothing_else() {
    let fixture = fixture();
    let (verifier, published) = verifier(&fixture, DAY);
    let now = fixture.now();
    fetch(&published, &fixture.0["jwks"], now);
    let is_believed = async |name: &str| verifier.verify(fixture.token(name), now).await.is_ok();
    assert!(is_believed("rs256").await && !is_believed("rotated").await);
    for hostile in ["", "<html>", "{\"keys\": []}"] {
        published.begin();
        assert!(published.end(Some(hostile.as_bytes()), now).is_err());
    }
    published.begin();
    published.end(None, now).unwrap();
    assert!(is_believed("rs256").await);
    fetch(&published, &fixture.0["rotated"], now);
    assert!(is_believed("rotated").await && is_believed("es256").await);
    assert!(!is_believed("rs256").await, "a key that is withdrawn");
}

#[tokio::test(start_paused = true)]
async fn keys_that_could_not_be_fetched_again_are_used_for_their_time() {
    let fixture = fixture();
    let (verifier, published) = verifier(&fixture, Duration::from_mins(10));
    let fetched = fixture.now();
    fetch(&published, &fixture.0["jwks"], fetched);
    let token = fixture.token("rs256");
    assert!(verifier.verify(token, fetched + 600_000).await.is_ok());
    let refused = verifier.verify(token, fetched + 600_001).await;
    assert_eq!(refused, Err(TokenError::NoKeys));
    assert_eq!(
        published.age(fetched + 600_001),
        Some(Duration::from_millis(600_001))
    );
}

#[tokio::test(start_paused = true)]
async fn however_many_name_unknown_keys_one_fetch_is_asked_for_at_a_time() {
    let fixture = fixture();
    let (verifier, published) = verifier(&fixture, DAY);
    let now = fixture.now();
    fetch(&published, &fixture.0["jwks"], now);
    tokio::time::sleep(Published::MIN_INTERVAL).await;
    let (token, many) = (fixture.token("rotated"), 500);
    let asking = futures_util::future::join_all((0..many).map(|_| verifier.verify(token, now)));
    let job = async {
        let mut fetches = 0;
        loop {
            published.wanted().await;
            published.begin();
            tokio::time::sleep(Duration::from_secs(1)).await;
            published
                .end(Some(fixture.0["rotated"].to_string().as_bytes()), now)
                .unwrap();
            fetches += 1;
            if tokio::time::timeout(Duration::from_mins(1), published.wanted())
                .await
                .is_err()
            {
                return fetches;
            }
        }
    };
    let (answers, fetches) = tokio::join!(asking, job);
    assert_eq!(fetches, 1);
    let believed = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(believed, 64, "those that may wait; the others are told at once");
}

#[tokio::test(start_paused = true)]
async fn an_early_fetch_is_not_asked_for_soon_after_another() {
    let fixture = fixture();
    let (verifier, published) = verifier(&fixture, DAY);
    let now = fixture.now();
    fetch(&published, &fixture.0["jwks"], now);
    let before = tokio::time::Instant::now();
    let asked = verifier.verify(fixture.token("unknown_kid"), now).await;
    assert_eq!(asked, Err(TokenError::Signature));
    assert_eq!(before.elapsed(), Duration::ZERO, "told at once");
    let soon = tokio::time::timeout(Duration::from_hours(1), published.wanted()).await;
    assert!(soon.is_err(), "nobody asked");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_early_fetch_does_not_wait_long() {
    let fixture = fixture();
    let (verifier, published) = verifier(&fixture, DAY);
    let now = fixture.now();
    fetch(&published, &fixture.0["jwks"], now);
    tokio::time::sleep(Published::MIN_INTERVAL).await;
    let before = tokio::time::Instant::now();
    let asked = verifier.verify(fixture.token("rotated"), now).await;
    assert_eq!(asked, Err(TokenError::Signature));
    assert_eq!(before.elapsed(), Duration::from_secs(3));
}

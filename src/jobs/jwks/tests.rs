//! The job against an issuer that publishes, rotates, fails and lies. Tokens and keys are those of `src/jwt/tests`.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::config::{ClaimPath, Jwks, Jwt, KeyAlgorithm};
use crate::domain::Millis;
use crate::jwt::{TokenError, User, Verifier};

const NOW: Millis = 1_760_000_000_000;

/// What the issuer answers.
#[derive(Debug, Clone)]
enum Answer {
    Set(Value),
    Page,
    Endless,
    Moved,
    Failure,
    Silence,
}

/// An issuer on loopback: what it answers, and how often it was asked.
#[derive(Clone)]
struct Issuer {
    answer: watch::Sender<Answer>,
    asked: watch::Sender<u32>,
    followed: Arc<AtomicU32>,
}

async fn publish(State(issuer): State<Issuer>) -> Response {
    issuer.asked.send_modify(|times| *times += 1);
    let answer = issuer.answer.borrow().clone();
    match answer {
        Answer::Set(set) => axum::Json(set).into_response(),
        Answer::Page => (
            [(header::CONTENT_TYPE, "application/json")],
            "<html>signed out</html>",
        )
            .into_response(),
        Answer::Endless => vec![b' '; 10 * 1024 * 1024].into_response(),
        Answer::Moved => (StatusCode::FOUND, [(header::LOCATION, "/moved")]).into_response(),
        Answer::Failure => StatusCode::BAD_GATEWAY.into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

struct World {
    fixture: Value,
    issuer: Issuer,
    verifier: Verifier,
    published: Arc<Published>,
    clock: Clock,
    _stop: tokio_util::sync::DropGuard,
}

impl World {
    async fn begin(first: Answer, refresh: Duration) -> Self {
        let issuer = Issuer {
            answer: watch::Sender::new(first),
            asked: watch::Sender::new(0),
            followed: Arc::default(),
        };
        let moved = async |State(issuer): State<Issuer>| {
            issuer.followed.fetch_add(1, Ordering::SeqCst);
        };
        let router = Router::new()
            .route("/keys", get(publish))
            .route("/moved", get(moved));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = JwksUrl {
            url: format!("http://{}/keys", listener.local_addr().unwrap()).into(),
            refresh,
            max_age: Duration::from_hours(1),
            allow_private_network: true,
        };
        let served = router.with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, served).await });
        let published = Arc::new(Published::new(url.max_age));
        let verifier = Verifier::new(settings(url.clone()), Some(Arc::clone(&published))).unwrap();
        let (clock, stop) = (Clock::fixed(NOW), CancellationToken::new());
        tokio::spawn(run(url, Arc::clone(&published), clock.clone(), stop.clone()));
        Self {
            fixture: fixture(),
            issuer,
            verifier,
            published,
            clock,
            _stop: stop.drop_guard(),
        }
    }

    async fn verify(&self, name: &str) -> Result<User, TokenError> {
        let token = self.fixture["tokens"][name].as_str().unwrap();
        self.verifier.verify(token, self.clock.now_ms()).await
    }

    fn now_answers(&self, answer: Answer) {
        self.issuer.answer.send_replace(answer);
    }

    /// Returns once an answer that was asked for after now has been dealt with: then the one after it is asked for.
    async fn asked_anew(&self) {
        let mut asked = self.issuer.asked.subscribe();
        let before = *asked.borrow_and_update();
        let enough = asked.wait_for(|times| *times >= before + 3);
        tokio::time::timeout(Duration::from_secs(20), enough)
            .await
            .unwrap()
            .unwrap();
    }
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../jwt/tests/tokens.json")).unwrap()
}

fn settings(url: JwksUrl) -> Jwt {
    let claim = |name: &str| ClaimPath(vec![name.to_owned()]);
    Jwt {
        hs256_secrets: Vec::new(),
        jwks: Some(Jwks::Url(url)),
        algorithms: vec![KeyAlgorithm::Rs256, KeyAlgorithm::Es256, KeyAlgorithm::EdDsa],
        issuer: Some("https://id.example.com/".to_owned()),
        audiences: vec!["tollgate".to_owned()],
        user_claim: claim("sub"),
        tenant_claim: claim("tenant"),
        role_claim: claim("role"),
        default_role: None,
        leeway: Duration::ZERO,
        requests_per_second: 1,
    }
}

const OFTEN: Duration = Duration::from_millis(20);
const SELDOM: Duration = Duration::from_hours(1);

#[tokio::test]
async fn the_first_token_waits_for_the_first_keys() {
    let world = World::begin(Answer::Set(fixture()["jwks"].clone()), SELDOM).await;
    assert!(world.verify("rs256").await.is_ok());
    assert_eq!(*world.issuer.asked.borrow(), 1);
}

#[tokio::test]
async fn keys_rotate_and_a_withdrawn_one_verifies_no_more() {
    let world = World::begin(Answer::Set(fixture()["jwks"].clone()), OFTEN).await;
    assert!(world.verify("rs256").await.is_ok());
    world.now_answers(Answer::Set(fixture()["rotated"].clone()));
    world.asked_anew().await;
    assert!(world.verify("rotated").await.is_ok());
    assert_eq!(world.verify("rs256").await, Err(TokenError::Signature));
}

#[tokio::test]
async fn whatever_the_issuer_answers_the_keys_it_gave_stay_in_use() {
    let fixture = fixture();
    let key = &fixture["rotated"]["keys"][0];
    let world = World::begin(Answer::Set(fixture["jwks"].clone()), OFTEN).await;
    assert!(world.verify("rs256").await.is_ok());
    for hostile in [
        Answer::Page,
        Answer::Endless,
        Answer::Moved,
        Answer::Failure,
        Answer::Set(json!({"keys": []})),
        Answer::Set(json!({"keys": [key, key]})),
        Answer::Set(json!({"keys": vec![key; 65]})),
    ] {
        world.now_answers(hostile.clone());
        world.clock.advance(1000);
        world.asked_anew().await;
        assert!(world.verify("rs256").await.is_ok(), "{hostile:?}");
        assert_eq!(
            world.verify("rotated").await,
            Err(TokenError::Signature),
            "{hostile:?}"
        );
        assert!(world.published.age(world.clock.now_ms()).unwrap() >= Duration::from_secs(1));
    }
    assert_eq!(
        world.issuer.followed.load(Ordering::SeqCst),
        0,
        "a redirect was followed"
    );
    // As long as they are young enough, and again once there are new ones.
    world.clock.advance(3_600_000);
    assert_eq!(world.verify("rs256").await, Err(TokenError::NoKeys));
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_whose_key_is_known() {
    let world = World::begin(Answer::Set(fixture()["jwks"].clone()), OFTEN).await;
    assert!(world.verify("rs256").await.is_ok());
    world.now_answers(Answer::Silence);
    let mut asked = world.issuer.asked.subscribe();
    asked.borrow_and_update();
    asked.changed().await.unwrap();
    let at_once = tokio::time::timeout(Duration::from_secs(1), world.verify("rs256")).await;
    assert!(at_once.unwrap().is_ok());
    let soon = tokio::time::timeout(Duration::from_secs(4), world.verify("rotated")).await;
    assert_eq!(soon.unwrap(), Err(TokenError::Signature));
}

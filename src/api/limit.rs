//! How often callers may ask: a bucket per API key and per user, and one each for everything public and for all webhooks.
//!
//! Only keys that exist and users whose token holds get a bucket, and full ones are dropped, so memory is bounded by those
//! who ask. Callers without either share theirs: behind a proxy an address names nobody. The answer's headers are those of draft-ietf-httpapi-ratelimit-headers-10.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Requests per second of all public callers together, and of all webhooks together, in multiples of one key's.
const SHARED_FACTOR: u32 = 10;

/// Buckets that are full again are dropped once in so many requests.
const TIDY_EVERY: u32 = 4096;

type Buckets = RateLimiter<String, HashMapStateStore<String>, DefaultClock, StateInformationMiddleware>;

/// Looks at chains a second for one caller, and how many at once.
const LOOKS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN;
const LOOKS_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

/// Whose bucket a request is taken from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bucket<'a> {
    /// That of a key, by its id.
    Key(&'a str),
    /// That of a user, by its name in the audit.
    User(&'a str),
    /// That of everybody who needs no key.
    Public,
    /// That of the providers.
    Webhook,
    /// That of those who show a key or a token which is none.
    Stranger,
}

/// Where a caller stands after a request.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    policy: &'static str,
    quota: u32,
    remaining: u32,
    /// Seconds until the bucket is full again, or until the next request is let through.
    wait_s: u64,
    /// Whether the request is let through.
    pub(super) admitted: bool,
}

/// The buckets.
#[derive(Debug)]
pub(super) struct Limits {
    keys: Buckets,
    users: Buckets,
    shared: Buckets,
    looks: Buckets,
    clock: DefaultClock,
    asked: AtomicU32,
}

/// A bucket holds twice what flows into it in a second, so it is full again after two.
const WINDOW_S: u64 = 2;

fn buckets(per_second: u32) -> Buckets {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    holding(rate, rate.saturating_add(rate.get()))
}

fn holding(per_second: NonZeroU32, most: NonZeroU32) -> Buckets {
    let quota = Quota::per_second(per_second).allow_burst(most);
    RateLimiter::hashmap_with_clock(quota, DefaultClock::default()).with_middleware()
}

impl Limits {
    /// Buckets for so many requests a second and key, and a second and user.
    pub(super) fn new(per_second: u32, of_user: u32) -> Self {
        Self {
            keys: buckets(per_second),
            users: buckets(of_user),
            shared: buckets(per_second.saturating_mul(SHARED_FACTOR)),
            looks: holding(LOOKS_PER_SECOND, LOOKS_AT_ONCE),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }
    }

    /// Whether a caller may have a chain looked at now, by its name in the audit: each look costs requests of the operator's.
    pub(super) fn may_look(&self, caller: &str) -> bool {
        self.looks.check_key(&caller.to_owned()).is_ok()
    }

    /// Takes one request out of a bucket.
    pub(super) fn take(&self, bucket: Bucket<'_>) -> Standing {
        if self
            .asked
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(TIDY_EVERY)
        {
            self.keys.retain_recent();
            self.users.retain_recent();
            self.looks.retain_recent();
        }
        let (buckets, policy, key) = match bucket {
            Bucket::Key(id) => (&self.keys, "key", id),
            Bucket::User(name) => (&self.users, "user", name),
            Bucket::Public => (&self.shared, "public", "public"),
            Bucket::Webhook => (&self.shared, "webhook", "webhook"),
            Bucket::Stranger => (&self.shared, "stranger", "stranger"),
        };
        match buckets.check_key(&key.to_owned()) {
            Ok(state) => Standing::admitted(policy, &state),
            Err(refused) => Standing {
                policy,
                quota: refused.quota().burst_size().get(),
                remaining: 0,
                wait_s: whole_seconds(refused.wait_time_from(self.clock.now())),
                admitted: false,
            },
        }
    }
}

/// Rounded up, at least one: who comes back early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    let rounded_up = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    rounded_up.max(1)
}

impl Standing {
    fn admitted(policy: &'static str, state: &StateSnapshot) -> Self {
        let quota = state.quota();
        let remaining = state.remaining_burst_capacity();
        let taken = quota.burst_size().get().saturating_sub(remaining);
        Self {
            policy,
            quota: quota.burst_size().get(),
            remaining,
            wait_s: whole_seconds(quota.replenish_interval().saturating_mul(taken)),
            admitted: true,
        }
    }

    /// Seconds until the next request is let through, where this one was not.
    pub(super) fn wait_s(&self) -> u64 {
        self.wait_s
    }

    /// Tells the caller.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Self {
            policy,
            quota,
            remaining,
            wait_s,
            ..
        } = self;
        let lines = [
            ("ratelimit-policy", format!("\"{policy}\";q={quota};w={WINDOW_S}")),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={wait_s}")),
        ];
        for (name, line) in lines {
            if let Ok(value) = HeaderValue::from_str(&line) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_own_bucket_of_two_seconds() {
        let limits = Limits::new(2, 1);
        let remaining: Vec<u32> = (0..4)
            .map(|_| limits.take(Bucket::Key("a")))
            .inspect(|standing| assert!(standing.admitted))
            .map(|standing| standing.remaining)
            .collect();
        assert_eq!(remaining, [3, 2, 1, 0]);
        let refused = limits.take(Bucket::Key("a"));
        assert!(!refused.admitted);
        assert_eq!(refused.wait_s(), 1);
        assert!(limits.take(Bucket::Key("b")).admitted);
        assert!(limits.take(Bucket::Public).admitted);
        for admitted in [true, true, false] {
            assert_eq!(limits.take(Bucket::User("a")).admitted, admitted);
        }
        assert!(limits.take(Bucket::User("b")).admitted);
    }

    #[test]
    fn a_caller_looks_at_chains_so_often_and_no_more() {
        let limits = Limits::new(1_000, 1_000);
        for _ in 0..LOOKS_AT_ONCE.get() {
            assert!(limits.may_look("a"));
        }
        assert!(!limits.may_look("a"));
        assert!(limits.may_look("b"));
    }

    #[test]
    fn the_headers_are_structured_fields() {
        let mut headers = HeaderMap::new();
        Limits::new(50, 10).take(Bucket::Key("a")).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=2");
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1");
    }
}

//! What the tests run against: a real anvil, what can go wrong before it, a real `PostgreSQL`, a real Prometheus, a
//! real Chromium, a receiver of webhooks, and a provider of hosted checkouts.
//!
//! Every wait is for a condition, with a deadline. Every process belongs to a guard that ends it when this process does,
//! however this process ends.

pub mod anvil;
pub mod blocks;
pub mod chromium;
pub mod counted;
pub mod databases;
pub mod facts;
pub mod fake_checkout;
pub mod fake_webhook;
mod guard;
pub mod holders;
pub mod postgres;
pub mod prometheus;
pub mod proxy;
mod proxy_tests;
pub mod random;
pub mod served;
pub mod service;
pub mod wallets;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An HTTP client; plain HTTP only needs no certificates, but the library wants a TLS provider all the same.
pub fn http_client() -> reqwest::Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // An error says that somebody in this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().build().unwrap()
}

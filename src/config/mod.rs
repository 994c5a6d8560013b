//! The operator's configuration: raw as written, then checked.

mod checked;

pub use checked::{
    CatalogueSettings, Chain, Config, Endpoint, Log, Payments, Server, StoreSettings, Stripe, Wallets,
    WebhookEndpoint,
};

//! Who may call what.

use crate::domain::Role;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Whoever.
    Nothing,
    /// A key, and never a user.
    Key,
    /// A user with at least this role.
    User(Role),
}

/// Every route, written down a second time on purpose: who changes the table must say here what users get.
pub(super) const EXPECTED: &[(&str, Needs)] = &[
    ("GET /livez", Needs::Nothing),
    ("GET /readyz", Needs::Nothing),
    ("GET /healthz", Needs::Nothing),
    ("GET /openapi.json", Needs::Nothing),
    ("GET /api/billing/plans", Needs::Nothing),
    ("GET /api/billing/plans/{id}", Needs::Nothing),
    ("POST /api/billing/webhook", Needs::Nothing),
    ("POST /api/webhooks/stripe", Needs::Nothing),
    ("POST /api/billing/crypto/webhook", Needs::Nothing),
    ("GET /api/billing/subscription", Needs::User(Role::User)),
    ("POST /api/billing/check", Needs::User(Role::User)),
    ("POST /api/token-gates/verify", Needs::User(Role::User)),
    ("POST /api/token-gates/receipt", Needs::User(Role::User)),
    ("GET /.well-known/jwks.json", Needs::Nothing),
    ("GET /api/billing/crypto/charge/{id}", Needs::User(Role::User)),
    ("GET /api/billing/crypto/charges", Needs::User(Role::User)),
    (
        "GET /api/billing/crypto/charge/{id}/qr.svg",
        Needs::User(Role::User),
    ),
    (
        "GET /api/billing/crypto/charge/{id}/events",
        Needs::User(Role::User),
    ),
    ("GET /pay/{id}", Needs::Nothing),
    ("POST /api/wallets/nonce", Needs::User(Role::User)),
    ("POST /api/wallets/link", Needs::User(Role::User)),
    ("GET /api/wallets", Needs::User(Role::User)),
    ("DELETE /api/wallets/{address}", Needs::User(Role::User)),
    ("POST /api/billing/crypto/stablecoin", Needs::User(Role::Admin)),
    ("POST /api/billing/crypto/payment", Needs::User(Role::Admin)),
    ("POST /api/billing/crypto/charge", Needs::User(Role::Admin)),
    ("DELETE /api/billing/crypto/charge/{id}", Needs::User(Role::Admin)),
    ("GET /api/billing/credit", Needs::User(Role::Admin)),
    ("PUT /api/billing/subscription", Needs::User(Role::Admin)),
    ("DELETE /api/billing/subscription", Needs::User(Role::Admin)),
    ("POST /api/billing/subscription/resume", Needs::User(Role::Admin)),
    ("POST /api/billing/subscription/preview", Needs::User(Role::Admin)),
    ("GET /api/token-gates", Needs::User(Role::Admin)),
    ("POST /api/token-gates", Needs::User(Role::Admin)),
    ("GET /api/token-gates/{id}", Needs::User(Role::Admin)),
    ("PUT /api/token-gates/{id}", Needs::User(Role::Admin)),
    ("DELETE /api/token-gates/{id}", Needs::User(Role::Admin)),
    ("POST /api/billing/crypto/claim", Needs::User(Role::User)),
    ("GET /api/billing/crypto/verify/{txHash}", Needs::User(Role::User)),
    ("GET /api/billing/crypto/status/{txHash}", Needs::User(Role::User)),
    ("GET /api/admin/explain/tx/{chain}/{hash}", Needs::Key),
    ("GET /api/admin/payments", Needs::Key),
    ("GET /api/admin/payments/unmatched", Needs::Key),
    ("POST /api/admin/payments/{id}/assign", Needs::Key),
    ("POST /api/admin/payments/{id}/ignore", Needs::Key),
    ("POST /api/admin/payments/{id}/refund", Needs::Key),
    ("GET /api/admin/chains", Needs::Key),
    ("GET /api/admin/chains/{id}/coverage", Needs::Key),
];

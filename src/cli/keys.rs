//! `tollgate keys`

use clap::Subcommand;

use super::{Failure, wait};
use crate::app;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::engine::{CreateKey, MakeReceiptKey, RevokeKey, Scope, rfc3339};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a key and print it; it is shown this once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do: check, billing, gates, admin; several separated by commas.
        #[arg(long, value_delimiter = ',', required = true, value_parser = scope)]
        scopes: Vec<Scope>,
    },
    /// List the keys, without the keys themselves.
    List,
    /// Revoke a key; it is refused within ten seconds.
    Revoke {
        /// The key's id, as `list` shows it.
        id: String,
    },
    /// Sign receipts by a new key from now on. What the old one signed is believed until it ends.
    RotateReceipts {
        /// Believe no receipt that was signed before, as when a copy of the database was lost.
        #[arg(long)]
        revoke: bool,
    },
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::parse(word).ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("there is no scope {word:?}; there are {}", known.join(", "))
    })
}

impl Keys {
    pub(super) fn execute(&self, loaded: &Loaded) -> Result<(), Failure> {
        wait(async {
            let engine = app::open_engine(&loaded.config, Clock::system()).await?;
            match self {
                Self::Create { name, scopes } => {
                    let command = CreateKey {
                        name: name.clone(),
                        scopes: scopes.clone(),
                    };
                    let made = engine.execute(command).await?;
                    eprintln!("key {} for {name}: keep it, it is not shown again", made.id);
                    println!("{}", made.key);
                }
                Self::List => {
                    for key in engine.api_keys().await? {
                        let state = key
                            .revoked_at
                            .map_or("live".to_owned(), |at| format!("revoked {}", rfc3339(at)));
                        println!(
                            "{}  {}  [{}]  made {}  {state}",
                            key.id,
                            key.name,
                            key.scopes,
                            rfc3339(key.created_at)
                        );
                    }
                }
                Self::Revoke { id } => {
                    engine.execute(RevokeKey { id: id.clone() }).await?;
                    println!("revoked {id}");
                }
                Self::RotateReceipts { revoke } => {
                    let make = if *revoke {
                        MakeReceiptKey::Only
                    } else {
                        MakeReceiptKey::Next
                    };
                    let signer = engine.execute(make).await?;
                    println!("receipts are signed by {}", signer.kid());
                }
            }
            engine.close().await;
            Ok(())
        })
    }
}

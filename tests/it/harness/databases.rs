//! One test body on both databases: `on_both!` makes a test of each for every function that is named.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use tempfile::TempDir;
use tollgate::config::StoreSettings;
use tollgate::store::{Faults, Store};

use super::postgres;

/// A new and empty database, which goes with this value.
pub struct Database {
    settings: StoreSettings,
    _directory: Option<TempDir>,
}

impl Database {
    /// A file of its own; in memory where the system has a place for it, because each commit waits for the disk.
    pub fn sqlite() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let url = format!("sqlite://{}/t.sqlite", directory.path().display());
        Self {
            settings: settings(url),
            _directory: Some(directory),
        }
    }

    /// A database of its own on the shared server.
    pub fn postgres() -> Self {
        Self {
            settings: settings(postgres::database()),
            _directory: None,
        }
    }

    /// Opens it with what shall go wrong.
    pub async fn open_with(&self, faults: Arc<dyn Faults>) -> Store {
        Store::open_with(&self.settings, Some(faults)).await.unwrap()
    }

    /// Opens it.
    pub async fn open(&self) -> Store {
        Store::open(&self.settings).await.unwrap()
    }
}

fn settings(url: String) -> StoreSettings {
    StoreSettings {
        url: SecretString::from(url),
        max_connections: 8,
    }
}

/// For each function of a [`Database`] a test on `SQLite` and one on `PostgreSQL`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::harness::databases::Database::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::harness::databases::Database::postgres()).await;
            })+
        }
    };
}
pub(crate) use on_both;

//! `tollgate migrate`

use super::{Failure, wait};
use crate::config::Loaded;
use crate::store::Store;

/// Brings the schema up to date; opening the store does.
pub(super) fn migrate(loaded: &Loaded) -> Result<(), Failure> {
    wait(async {
        let store = Store::open(&loaded.config.store).await?;
        store.close().await;
        println!("the schema is up to date");
        Ok(())
    })
}

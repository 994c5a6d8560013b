//! `tollgate openapi`

use super::Failure;
use crate::api;

/// Prints the API's description.
pub(super) fn print() -> Result<(), Failure> {
    println!("{}", api::openapi().to_pretty_json()?);
    Ok(())
}

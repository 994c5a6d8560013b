//! Who may run on an `SQLite` database: one process, which the operating system makes sure of and forgets with its end.
//!
//! The lock is on a file beside the database. On the database itself it would meet `SQLite`'s own locks, all of which POSIX
//! drops when any descriptor of the file is closed. Commands that do not lead chains need no lock.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use secrecy::ExposeSecret as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::StoreError;
use crate::config::StoreSettings;

/// Holds an `SQLite` database for this process; given back when it is dropped, and when the process ends in whatever way.
#[derive(Debug)]
pub struct FileLock {
    /// None on a server, where leases decide.
    _file: Option<File>,
}

impl FileLock {
    /// Takes the database that the settings name, and does not wait for it.
    ///
    /// # Errors
    /// Another process has it, or the file beside it cannot be opened.
    pub fn take(settings: &StoreSettings) -> Result<Self, StoreError> {
        let url = settings.url.expose_secret();
        if !url.starts_with("sqlite:") {
            return Ok(Self { _file: None });
        }
        let database = SqliteConnectOptions::from_str(url)?;
        let failed = |error: std::io::Error| StoreError::Lock(error.kind());
        let mut name = real_path(database.get_filename()).into_os_string();
        name.push("-lock");
        let file = File::options()
            .create(true)
            .append(true)
            .open(name)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The same for every name of one database: links are followed, also where only the directory is there yet.
fn real_path(database: &Path) -> PathBuf {
    let in_directory = || {
        let directory = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(directory.join(database.file_name()?))
    };
    let real = database.canonicalize().ok().or_else(in_directory);
    real.unwrap_or_else(|| database.to_owned())
}

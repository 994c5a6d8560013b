//! Directories that go when the bench ends, and the databases in them.

use tempfile::TempDir;

use super::Outcome;
use super::postgres::Server;

/// The two databases that the service runs on.
pub enum Stores {
    Sqlite,
    Postgres(Server),
}

/// An empty database; dropping it removes an `SQLite` file.
pub struct Database {
    pub url: String,
    _directory: Option<TempDir>,
}

impl Stores {
    pub fn both() -> Outcome<[Self; 2]> {
        Ok([Self::Sqlite, Self::Postgres(Server::start()?)])
    }

    /// As a result line names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    pub fn new_database(&self) -> Outcome<Database> {
        match self {
            Self::Sqlite => {
                let directory = directory()?;
                let file = directory.path().join("bench.sqlite");
                Ok(Database {
                    url: format!("sqlite://{}", file.display()),
                    _directory: Some(directory),
                })
            }
            Self::Postgres(server) => Ok(Database {
                url: server.new_database()?,
                _directory: None,
            }),
        }
    }
}

/// A directory that goes with its value.
pub fn directory() -> Outcome<TempDir> {
    Ok(tempfile::Builder::new().prefix("tollgate-bench-").tempdir()?)
}

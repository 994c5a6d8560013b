//! The commands: a file each. They read the configuration, call one room, and print for people.

mod chain;
mod check;
mod explain;
mod keys;
mod migrate;
mod openapi;
mod rescan;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, ConfigErrors, Env, Loaded};

/// Who has paid, and who holds what.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about)]
pub struct Cli {
    /// The configuration file; without one, the embedded defaults and the environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until it is told to stop.
    Run,
    /// Check the configuration, the catalogue and what the endpoints answer, and say what is wrong.
    Check {
        /// Ask no endpoint.
        #[arg(long)]
        offline: bool,
    },
    /// Bring the database's schema up to date.
    Migrate,
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Resolve what a chain's task must not decide.
    #[command(subcommand)]
    Chain(chain::Chain),
    /// Read blocks again, with the same proofs, and compare them with what is stored.
    Rescan(rescan::Rescan),
    /// Say why something is as it is.
    #[command(subcommand)]
    Explain(explain::Explain),
    /// Print the API's description (`OpenAPI` 3.1).
    Openapi,
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> ExitCode {
        let outcome = match &self.command {
            Command::Openapi => openapi::print(),
            Command::Run => self.load().and_then(|loaded| run::run(loaded, || self.read())),
            Command::Check { offline } => self.load().and_then(|loaded| check::check(&loaded, *offline)),
            Command::Migrate => self.load().and_then(|loaded| migrate::migrate(&loaded)),
            Command::Chain(chain) => self.load().and_then(|loaded| chain.execute(&loaded)),
            Command::Rescan(rescan) => self.load().and_then(|loaded| rescan.execute(&loaded)),
            Command::Explain(explain) => self.load().and_then(|loaded| explain.execute(&loaded)),
            Command::Keys(keys) => self.load().and_then(|loaded| keys.execute(&loaded)),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure(problem)) => {
                eprintln!("tollgate: {problem}");
                ExitCode::FAILURE
            }
        }
    }

    fn load(&self) -> Result<Loaded, Failure> {
        self.read()
            .map_err(|errors| Failure(format!("the configuration is wrong:\n{errors}")))
    }

    fn read(&self) -> Result<Loaded, ConfigErrors> {
        config::load(self.config.as_deref(), &Env::of_process())
    }
}

/// What a command says when it fails.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs a command that awaits, on this thread: none but `run` has work for more.
fn wait<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

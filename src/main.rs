//! The `tollgate` command.

use std::process::ExitCode;

use clap::Parser;
use tollgate::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}

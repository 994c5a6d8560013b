//! The program itself: its commands, as an operator runs them.

mod check;

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// What a command said, and whether it succeeded.
pub struct Said {
    pub success: bool,
    pub out: String,
    pub err: String,
}

/// Runs a command with a configuration of its own, apart from the environment of the tests.
pub async fn tollgate(config: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("--config")
        .arg(config)
        .args(arguments)
        .env_clear()
        .output()
        .await
        .unwrap();
    Said {
        success: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A configuration's file, in a directory that lives as long as it is used.
pub fn written(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("tollgate.toml");
    std::fs::write(&path, text).unwrap();
    path
}

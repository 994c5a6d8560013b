//! `tollgate rescan`

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{Failure, wait};
use crate::app;
use crate::chain::{Internet, Network};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::egress;
use crate::sync::{self, Difference, Report, Request};

/// Compares a range of a chain with what is stored; each difference is a line. It may run beside the service.
#[derive(Debug, Args)]
pub(super) struct Rescan {
    /// The chain, by its name in the configuration.
    #[arg(long)]
    chain: String,
    /// The first block.
    #[arg(long)]
    from: u64,
    /// The last block; by default up to which the chain is read.
    #[arg(long)]
    to: Option<u64>,
    /// Print each difference as a JSON object a line, and the summary as the last.
    #[arg(long)]
    json: bool,
    /// Write what is missing here. What is here and not on the chain is only told.
    #[arg(long)]
    repair: bool,
}

impl Rescan {
    pub(super) fn execute(&self, loaded: &Loaded) -> Result<(), Failure> {
        let chains = &loaded.config.chains;
        let settings = chains.iter().find(|chain| chain.name == self.chain);
        let settings = settings.ok_or_else(|| {
            let known: Vec<&str> = chains.iter().map(|chain| chain.name.as_str()).collect();
            Failure(format!(
                "--chain: there is no chain {:?}; there are: {}",
                self.chain,
                known.join(", ")
            ))
        })?;
        let request = Request {
            from: self.from,
            to: self.to,
            repair: self.repair,
        };
        egress::install_crypto_provider();
        let report = wait(async {
            let network: Arc<dyn Network> = Arc::new(Internet::new()?);
            let engine = app::open_engine(&loaded.config, Clock::system()).await?;
            let report = sync::rescan(settings, &network, &engine, request, |found| self.tell(found)).await;
            engine.close().await;
            Ok(report?)
        })?;
        self.sum_up(&report);
        match report.differences.saturating_sub(report.repaired) {
            0 => Ok(()),
            left => Err(Failure(format!("{left} differences are left"))),
        }
    }

    fn tell(&self, found: &Difference) {
        if self.json {
            println!("{}", json!(found));
        } else {
            println!("{found}");
        }
    }

    fn sum_up(&self, report: &Report) {
        if self.json {
            println!("{}", json!({"kind": "summary", "report": report}));
            return;
        }
        let Report { from, to, .. } = report;
        println!(
            "{} blocks {from} to {to}: {} payments, {} contracts folded again, {} compared in part; {} differences, {} repaired",
            self.chain,
            report.payments,
            report.refolded.len(),
            report.partial.len(),
            report.differences,
            report.repaired,
        );
        if !report.anchored {
            println!(
                "the range reaches no header that is kept: that it is of the chain that was read is not proven"
            );
        }
    }
}

//! The tour that `make demo` runs: the shipped binary between a real anvil and a listener for its webhooks, and a story in
//! seven steps.
//!
//! Everything it claims was observed over HTTP, on the chain, or at the listener; nothing is read from the service's inside.
//! An example, so that test keys and contracts stay out of the shipped binary. Every program that it starts ends with it.

mod anvil;
mod api;
mod failure;
mod farewell;
mod http;
mod listener;
mod print;
mod process;
mod service;
mod stage;
mod story;
mod wallet;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use failure::Outcome;
use print::Teller;
use stage::World;

/// The tour of tollgate on a real anvil.
#[derive(Parser)]
struct Arguments {
    /// End after the story, with status 0 only if every step held.
    #[arg(long)]
    exit: bool,
}

/// As shells report a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut teller = Teller::new();
    match run(&arguments, &mut teller).await {
        Ok(code) => code,
        Err(failure) => {
            teller.problem(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, teller: &mut Teller) -> Outcome<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut world: Option<World> = None;
    let told = tokio::select! {
        told = tell(arguments, teller, &mut world) => Some(told?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = hangup.recv() => None,
    };
    if let Some(world) = world {
        world.close().await?;
    }
    Ok(match told {
        None if !teller.all_held() => ExitCode::from(INTERRUPTED),
        _ if teller.all_held() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The whole tour; without `--exit` it stays until it is interrupted.
async fn tell(arguments: &Arguments, teller: &mut Teller, world: &mut Option<World>) -> Outcome<()> {
    teller.title("tollgate, on a real chain: the service between anvil and a chat product");
    let Some(stage) = teller.step(0, "The stage", stage::set).await else {
        return Ok(());
    };
    let world = world.insert(stage);
    story::tell(teller, world).await;
    teller.conclude();
    if !teller.all_held() {
        teller.aside("the service's last words", &world.service.told());
    }
    if !arguments.exit {
        farewell::print(teller, world).await?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

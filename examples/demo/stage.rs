//! The stage of the story: a chain with our contracts on it, a listener, and the service between them.

use std::time::Instant;

use alloy::primitives::{Address, U256};
use tempfile::TempDir;

use crate::anvil::{Anvil, Deployed, MemberNft, TestUsdc};
use crate::api::Api;
use crate::failure::{Failure, Outcome, ensure};
use crate::http::Http;
use crate::listener::{Listener, Secret};
use crate::print::{Step, spell};
use crate::service::{Service, Settings};

const USDC: &str = include_str!("../../anvil-fixtures/artifacts/TestUSDC.json");
const NFT: &str = include_str!("../../anvil-fixtures/artifacts/MemberNft.json");
const BATCH_PAY: &str = include_str!("../../anvil-fixtures/artifacts/BatchPay.json");

/// What each payer is given, in base units of the test USDC: a million units.
const PURSE: u64 = 1_000_000_000_000;

/// Blocks on a payment's block, itself included, before it counts; `config/chains/anvil.toml` says so.
pub const CONFIRMATIONS: u64 = 3;

/// Who acts in the story, by accounts that anvil signs for.
pub struct Cast {
    /// Deploys the contracts, and mints.
    pub owner: Address,
    /// Is paid.
    pub treasury: Address,
    /// Pays for one tenant at a time.
    pub payer: Address,
    /// Pays for many.
    pub crowd: Address,
}

/// The contracts on the chain.
pub struct Contracts {
    /// An ERC-20 that looks like USDC.
    pub usdc: Address,
    /// An ERC-721.
    pub nft: Deployed,
    /// Pays several times in one transaction.
    pub batch_pay: Address,
}

/// Everything that runs. What is dropped first stands first.
pub struct World {
    /// The service.
    pub service: Service,
    /// Its API.
    pub api: Api,
    /// The chain.
    pub anvil: Anvil,
    /// The chat product's side.
    pub listener: Listener,
    /// Who acts.
    pub cast: Cast,
    /// What is deployed.
    pub contracts: Contracts,
    /// What Stripe would sign with.
    pub stripe: Secret,
    _directory: TempDir,
}

/// Sets the stage: starts everything, each with how long it took.
pub async fn set(step: &Step) -> Outcome<World> {
    let directory = tempfile::Builder::new().prefix("tollgate-demo-").tempdir()?;
    let http = Http::new()?;
    let anvil = Anvil::start(http.clone(), directory.path()).await?;
    let (version, url) = (anvil.version().await?, anvil.url());
    step.saw(format!(
        "started {version} on {url}: a block a second, and one for each transaction"
    ));

    let cast = cast(&anvil).await?;
    let contracts = deploy(&anvil, &cast).await?;
    step.saw(format!("deployed TestUSDC  {}", contracts.usdc));
    step.note(format!(
        "         MemberNft {} in block {}",
        contracts.nft.address, contracts.nft.block
    ));
    step.note(format!("         BatchPay  {}", contracts.batch_pay));

    let listener = Listener::start().await?;
    let stripe = Secret::random()?;
    let settings = Settings {
        anvil: &anvil,
        listener: &listener,
        token: contracts.usdc,
        treasury: cast.treasury,
        stripe: &stripe,
    };
    let mut service = Service::prepare(directory.path(), &settings, http.clone())?;
    step.saw("wrote a configuration, and made an API key with `tollgate keys create`");
    let started = Instant::now();
    let id = service.start().await?;
    let took = spell(started.elapsed());
    step.saw(format!(
        "`tollgate run` (process {id}) is ready after {took}: SQLite, {}",
        service.url
    ));
    Ok(World {
        api: Api::new(service.url.clone(), service.key.clone(), http),
        service,
        anvil,
        listener,
        cast,
        contracts,
        stripe,
        _directory: directory,
    })
}

async fn cast(anvil: &Anvil) -> Outcome<Cast> {
    let accounts = anvil.accounts().await?;
    let [owner, treasury, payer, crowd, ..] = accounts.as_slice() else {
        return Err(Failure("anvil has fewer than four accounts".to_owned()));
    };
    Ok(Cast {
        owner: *owner,
        treasury: *treasury,
        payer: *payer,
        crowd: *crowd,
    })
}

async fn deploy(anvil: &Anvil, cast: &Cast) -> Outcome<Contracts> {
    let usdc = anvil.deploy(cast.owner, USDC).await?.address;
    let nft = anvil.deploy(cast.owner, NFT).await?;
    // Of a contract that has moved nothing nobody is known to hold nothing.
    let (to, id) = (cast.owner, U256::ONE);
    anvil
        .send(cast.owner, nft.address, &MemberNft::mintCall { to, id })
        .await?;
    let batch_pay = anvil.deploy(cast.owner, BATCH_PAY).await?.address;
    for to in [cast.payer, cast.crowd] {
        let amount = U256::from(PURSE);
        anvil
            .send(cast.owner, usdc, &TestUsdc::mintCall { to, amount })
            .await?;
    }
    let approval = TestUsdc::approveCall {
        spender: batch_pay,
        value: U256::MAX,
    };
    anvil.send(cast.crowd, usdc, &approval).await?;
    Ok(Contracts { usdc, nft, batch_pay })
}

impl World {
    /// Stops everything, the service first, which must end when it is asked to.
    pub async fn close(mut self) -> Outcome<()> {
        ensure(self.service.stop().await, || {
            "the service did not end when it was asked to".to_owned()
        })
    }
}

//! A real anvil on a free port, and the contracts on it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::sol;
use alloy::sol_types::SolCall;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, ensure, until};
use crate::http::Http;
use crate::process::Process;

/// The first start after an install reads a large program from disk.
const READY: Duration = Duration::from_mins(1);
const MINED: Duration = Duration::from_secs(30);
const PACKAGES: &str = "anvil-fixtures/node_modules";

sol! {
    /// What the demo calls of `contracts/TestUSDC.sol`.
    interface TestUsdc {
        function mint(address to, uint256 amount) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }

    /// What the demo calls of `contracts/MemberNft.sol`.
    interface MemberNft {
        function mint(address to, uint256 id) external;
        function ownerOf(uint256 id) external view returns (address);
        function transferFrom(address from, address to, uint256 id) external;
    }

    /// What the demo calls of `contracts/BatchPay.sol`.
    interface BatchPay {
        function pay(address token, address[] to, uint256[] amounts) external;
    }
}

/// A contract that was deployed.
#[derive(Clone, Copy)]
pub struct Deployed {
    /// Where it is.
    pub address: Address,
    /// The block that it came in.
    pub block: u64,
}

/// What a transaction came to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction.
    pub transaction_hash: B256,
    block_number: U64,
    block_hash: B256,
    contract_address: Option<Address>,
    status: U64,
}

impl Receipt {
    /// The height of its block.
    pub fn block(&self) -> u64 {
        self.block_number.to()
    }

    /// The hash of its block.
    pub fn block_hash(&self) -> B256 {
        self.block_hash
    }
}

/// A running anvil. Dropping it ends it.
pub struct Anvil {
    /// `host:port` of its HTTP and WebSocket.
    pub address: String,
    http: Http,
    next_id: AtomicU64,
    _process: Process,
}

impl Anvil {
    /// Starts one that mines each transaction at once, and a block every second beside.
    pub async fn start(http: Http, directory: &Path) -> Outcome<Self> {
        let (program, last_signal) = program()?;
        let arguments = ["--port", "0", "--block-time", "1", "--mixed-mining"];
        let process = Process::start("anvil", &program, &arguments, directory, last_signal)?;
        let listening = |line: &str| line.strip_prefix("Listening on ").map(str::to_owned);
        let anvil = Self {
            address: process.line(READY, listening).await?,
            http,
            next_id: AtomicU64::new(1),
            _process: process,
        };
        until("anvil answers", READY, async || {
            Ok(anvil.block_number().await.ok())
        })
        .await?;
        Ok(anvil)
    }

    /// Where it serves HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls a JSON-RPC method.
    pub async fn rpc<T: DeserializeOwned>(&self, method: &str, params: Value) -> Outcome<T> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut answer = self
            .http
            .post(&self.url(), HeaderMap::new(), body.to_string())
            .await?;
        match answer.body.get("error") {
            Some(error) => Err(Failure(format!("anvil refuses {method}: {error}"))),
            None => Ok(serde_json::from_value(answer.body["result"].take())?),
        }
    }

    /// `anvil/1.x`, as it calls itself.
    pub async fn version(&self) -> Outcome<String> {
        let version: String = self.rpc("web3_clientVersion", json!([])).await?;
        Ok(version.replace("/v", " ").replace('/', " "))
    }

    /// The accounts that it signs for; the first one deploys, and so owns the contracts.
    pub async fn accounts(&self) -> Outcome<Vec<Address>> {
        self.rpc("eth_accounts", json!([])).await
    }

    /// The height of the newest block.
    pub async fn block_number(&self) -> Outcome<u64> {
        let number: U64 = self.rpc("eth_blockNumber", json!([])).await?;
        Ok(number.to())
    }

    /// Deploys a contract of `anvil-fixtures/artifacts`.
    pub async fn deploy(&self, from: Address, artifact: &str) -> Outcome<Deployed> {
        let artifact: Value = serde_json::from_str(artifact)?;
        let transaction = json!({"from": from, "data": artifact["bytecode"]});
        let hash = self.rpc("eth_sendTransaction", json!([transaction])).await?;
        let receipt = self.receipt(hash).await?;
        let address = receipt
            .contract_address
            .ok_or_else(|| Failure("a deployment made no contract".to_owned()))?;
        Ok(Deployed {
            address,
            block: receipt.block(),
        })
    }

    /// Hands a call in, from an account that anvil signs for, and does not wait until it is mined.
    pub async fn submit(&self, from: Address, contract: Address, call: &impl SolCall) -> Outcome<B256> {
        let data = Bytes::from(call.abi_encode());
        let transaction = json!({"from": from, "to": contract, "data": data});
        self.rpc("eth_sendTransaction", json!([transaction])).await
    }

    /// Sends a call and waits until it is mined.
    pub async fn send(&self, from: Address, contract: Address, call: &impl SolCall) -> Outcome<Receipt> {
        let hash = self.submit(from, contract, call).await?;
        self.receipt(hash).await
    }

    /// Waits until a transaction is mined; it must not revert.
    pub async fn receipt(&self, hash: B256) -> Outcome<Receipt> {
        let receipt: Receipt = until(&format!("{hash} is mined"), MINED, async || {
            self.rpc("eth_getTransactionReceipt", json!([hash])).await
        })
        .await?;
        ensure(receipt.status.to::<u64>() == 1, || format!("{hash} reverted"))?;
        Ok(receipt)
    }

    /// Asks a contract at the newest block.
    pub async fn call<C: SolCall>(&self, contract: Address, call: C) -> Outcome<C::Return> {
        let transaction = json!({"to": contract, "data": Bytes::from(call.abi_encode())});
        let answer: Bytes = self.rpc("eth_call", json!([transaction, "latest"])).await?;
        Ok(C::abi_decode_returns(&answer)?)
    }

    /// What an account holds of a token, in base units.
    pub async fn balance(&self, token: Address, account: Address) -> Outcome<U256> {
        self.call(token, TestUsdc::balanceOfCall { account }).await
    }

    /// A block every so many seconds, and none else; 0 for none at all.
    pub async fn mine_every(&self, seconds: u64) -> Outcome<()> {
        self.rpc::<Value>("evm_setIntervalMining", json!([seconds]))
            .await?;
        Ok(())
    }
}

/// The program, and the signal to end it with. Where it stands, it is started itself: killing the package's launcher would
/// leave the program behind, which is why that one is only ever asked to end.
fn program() -> Outcome<(PathBuf, &'static str)> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(PACKAGES);
    let installed = std::fs::read_dir(packages.join("@foundry-rs")).ok();
    let binaries = installed.into_iter().flatten().flatten();
    let binary = binaries
        .map(|entry| entry.path().join("bin/anvil"))
        .find(|path| path.is_file());
    if let Some(binary) = binary {
        return Ok((binary, "KILL"));
    }
    let launcher = packages.join(".bin/anvil");
    ensure(launcher.is_file(), || {
        format!("there is no anvil under {PACKAGES}: run `make demo`, or `npm ci` in anvil-fixtures")
    })?;
    Ok((launcher, "TERM"))
}

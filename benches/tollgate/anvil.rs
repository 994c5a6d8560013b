//! A real anvil on a port of its own, with the test contracts.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol;
use alloy::sol_types::SolCall;
use serde_json::{Value, json};

use super::Outcome;
use super::guard::Guard;

sol! {
    /// What the benches call of `contracts/TestUSDC.sol`.
    interface TestUsdc {
        function mint(address to, uint256 amount) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }
}

const READY: Duration = Duration::from_mins(1);
const MINED: Duration = Duration::from_secs(30);

/// anvil's chain id, unless it is told another.
pub const CHAIN_ID: u64 = 31_337;

/// A running anvil. Dropping it ends it.
pub struct Anvil {
    node: Node,
    _guard: Guard,
}

/// A way to ask an anvil, which may be another process's.
pub struct Node {
    address: String,
    http: reqwest::Client,
    next_id: AtomicU64,
}

impl Anvil {
    pub async fn start(arguments: &[&str]) -> Outcome<Self> {
        let program = binary()?;
        let mut command = vec![program.as_os_str(), "--port".as_ref(), "0".as_ref()];
        command.extend(arguments.iter().map(OsStr::new));
        let guard = Guard::start(&command, "KILL", None)?;
        let listening = |line: &str| line.strip_prefix("Listening on ")?.parse::<SocketAddr>().ok();
        let port = guard.wait_for_line(READY, listening)?.port();
        let node = Node::new(&format!("http://127.0.0.1:{port}"))?;
        let end = Instant::now() + READY;
        while let Err(error) = node.rpc("eth_chainId", json!([])).await {
            if Instant::now() > end {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { node, _guard: guard })
    }
}

impl Deref for Anvil {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Node {
    pub fn new(http_url: &str) -> Outcome<Self> {
        Ok(Self {
            address: http_url
                .strip_prefix("http://")
                .ok_or("not a node's URL")?
                .to_owned(),
            http: http_client()?,
            next_id: AtomicU64::new(1),
        })
    }

    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub async fn rpc(&self, method: &str, params: Value) -> Outcome<Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = self.http.post(self.http_url()).body(body.to_string());
        let response = request.header("content-type", "application/json").send().await?;
        let mut answer: Value = serde_json::from_slice(&response.bytes().await?)?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(answer["result"].take()),
        }
    }

    /// The unlocked accounts; the first one deploys, and so owns the contracts.
    pub async fn accounts(&self) -> Outcome<Vec<Address>> {
        Ok(serde_json::from_value(
            self.rpc("eth_accounts", json!([])).await?,
        )?)
    }

    /// The head's number.
    pub async fn head(&self) -> Outcome<u64> {
        quantity(&self.rpc("eth_blockNumber", json!([])).await?)
    }

    /// Mines one block.
    pub async fn mine(&self) -> Outcome {
        self.rpc("evm_mine", json!([])).await.map(drop)
    }

    /// Whether each transaction gets a block at once.
    pub async fn set_automine(&self, automine: bool) -> Outcome {
        self.rpc("evm_setAutomine", json!([automine])).await.map(drop)
    }

    /// Sends the code of `anvil-fixtures/artifacts/<name>.json` from an account; it is not mined yet.
    pub async fn send_code(&self, from: Address, name: &str) -> Outcome<Value> {
        let path = repository(&format!("anvil-fixtures/artifacts/{name}.json"));
        let artifact: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let transaction = json!([{"from": from, "data": artifact["bytecode"]}]);
        self.rpc("eth_sendTransaction", transaction).await
    }

    /// Sends a call from an account; it is not mined yet. With `gas` nothing is estimated, which is faster.
    pub async fn send(
        &self,
        from: Address,
        to: Address,
        call: &impl SolCall,
        gas: Option<u64>,
    ) -> Outcome<Value> {
        let data = Bytes::from(call.abi_encode());
        let mut transaction = json!({"from": from, "to": to, "data": data});
        if let Some(gas) = gas {
            transaction["gas"] = format!("{gas:#x}").into();
        }
        self.rpc("eth_sendTransaction", json!([transaction])).await
    }

    /// What an account holds of a token, as of the head.
    pub async fn balance(&self, token: Address, account: Address) -> Outcome<U256> {
        let data = Bytes::from(TestUsdc::balanceOfCall { account }.abi_encode());
        let answer = self
            .rpc("eth_call", json!([{"to": token, "data": data}, "latest"]))
            .await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Deploys a contract from an account, on a chain that mines by itself.
    pub async fn deploy(&self, from: Address, name: &str) -> Outcome<Address> {
        let sent = self.send_code(from, name).await?;
        let receipt = self.receipt(&sent).await?;
        Ok(serde_json::from_value(receipt["contractAddress"].clone())?)
    }

    /// Waits until a transaction is mined; it must not have reverted.
    pub async fn receipt(&self, hash: &Value) -> Outcome<Value> {
        let end = Instant::now() + MINED;
        loop {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await?;
            if receipt["status"] == "0x1" {
                return Ok(receipt);
            }
            if !receipt.is_null() || Instant::now() > end {
                return Err(format!("{hash} reverted, or was not mined in {MINED:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A number as JSON-RPC writes it.
pub fn quantity(value: &Value) -> Outcome<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    Ok(u64::from_str_radix(digits.ok_or("not a quantity")?, 16)?)
}

pub fn http_client() -> Outcome<reqwest::Client> {
    tollgate::egress::install_crypto_provider();
    Ok(reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The program itself, past the package's launcher: ending the launcher would leave the program.
fn binary() -> Outcome<PathBuf> {
    let packages = repository("anvil-fixtures/node_modules/@foundry-rs");
    let entries = std::fs::read_dir(&packages).ok().into_iter().flatten().flatten();
    let mut binaries = entries.map(|entry| entry.path().join("bin/anvil"));
    binaries
        .find(|path| path.is_file())
        .ok_or_else(|| "there is no anvil: run `npm ci` in anvil-fixtures".into())
}

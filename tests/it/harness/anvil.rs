//! A real anvil for one test: its own port, its own chain, and the test contracts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol;
use alloy::sol_types::SolCall;
use serde_json::{Value, json};

use super::guard::Guard;
use super::{http_client, repository};

const READY: Duration = Duration::from_mins(1);
const MINED: Duration = Duration::from_secs(30);

sol! {
    /// What the tests call of `contracts/TestUSDC.sol`.
    interface TestUsdc {
        function mint(address to, uint256 amount) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }

    /// What the tests call of `contracts/PlainToken.sol`.
    interface PlainToken {
        function mint(address to, uint256 value) external;
        function transfer(address to, uint256 value) external returns (bool);
        function burn(uint256 value) external;
    }

    /// What the tests call of `contracts/Pass1155.sol`.
    interface Pass1155 {
        function mint(address to, uint256 id, uint256 value) external;
        function mintBatch(address to, uint256[] ids, uint256[] values) external;
        function safeTransferFrom(address from, address to, uint256 id, uint256 value, bytes data) external;
        function safeBatchTransferFrom(address from, address to, uint256[] ids, uint256[] values, bytes data) external;
        function burn(address account, uint256 id, uint256 value) external;
    }

    /// What the tests call of `contracts/RangeNft.sol`.
    interface RangeNft {
        function transferFrom(address from, address to, uint256 id) external;
        function burn(uint256 id) external;
    }

    /// What the tests call of `contracts/MemberNft.sol`.
    interface MemberNft {
        function mint(address to, uint256 id) external;
        function ownerOf(uint256 id) external view returns (address);
        function transferFrom(address from, address to, uint256 id) external;
    }
}

/// A running anvil. Dropping it ends it.
pub struct Anvil {
    port: u16,
    http: reqwest::Client,
    next_id: AtomicU64,
    _guard: Guard,
}

impl Anvil {
    /// Starts one that mines each transaction at once.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments, such as `["--chain-id", "137"]`.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let program = binary();
        let mut command = vec![program.to_str().unwrap(), "--port", "0"];
        command.extend(arguments);
        let guard = Guard::start(&command, "KILL", None);
        let listening = |line: &str| line.strip_prefix("Listening on ")?.parse::<SocketAddr>().ok();
        let anvil = Self {
            port: guard.wait_for_line(READY, listening).port(),
            http: http_client(),
            next_id: AtomicU64::new(1),
            _guard: guard,
        };
        anvil.wait_until_ready().await;
        anvil
    }

    /// Where it serves HTTP.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it serves WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Calls `method`, which must succeed.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        match self.try_rpc(method, params).await {
            Ok(result) => result,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Calls `method`, and returns its error as anvil tells it.
    pub async fn try_rpc(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = self.http.post(self.http_url()).body(body.to_string());
        let response = request.header("content-type", "application/json").send().await;
        let text = response.map_err(|error| error.to_string())?.text().await;
        let mut answer: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    /// The unlocked accounts; the first one deploys, and so owns the contracts.
    pub async fn accounts(&self) -> Vec<Address> {
        serde_json::from_value(self.rpc("eth_accounts", json!([])).await).unwrap()
    }

    /// Deploys `anvil-fixtures/artifacts/<name>.json` from the first account.
    pub async fn deploy(&self, name: &str) -> Address {
        let path = repository(&format!("anvil-fixtures/artifacts/{name}.json"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let artifact: Value = serde_json::from_str(&text).unwrap();
        let from = self.accounts().await[0];
        let receipt = self
            .transact(json!({"from": from, "data": artifact["bytecode"]}))
            .await;
        serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
    }

    /// Sends `call` to `contract` from an unlocked account and returns its receipt; it must not revert.
    pub async fn send(&self, from: Address, contract: Address, call: impl SolCall) -> Value {
        let data = Bytes::from(call.abi_encode());
        self.transact(json!({"from": from, "to": contract, "data": data}))
            .await
    }

    /// Asks `contract` at the latest block.
    pub async fn call<C: SolCall>(&self, contract: Address, call: C) -> C::Return {
        let transaction = json!({"to": contract, "data": Bytes::from(call.abi_encode())});
        let answer = self.rpc("eth_call", json!([transaction, "latest"])).await;
        let bytes: Bytes = serde_json::from_value(answer).unwrap();
        C::abi_decode_returns(&bytes).unwrap()
    }

    /// Mines `count` blocks.
    pub async fn mine(&self, count: u64) {
        self.rpc("anvil_mine", json!([count])).await;
    }

    /// Sends a transaction and waits until it is mined.
    pub async fn transact(&self, transaction: Value) -> Value {
        let hash = self.rpc("eth_sendTransaction", json!([transaction])).await;
        let end = Instant::now() + MINED;
        loop {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{hash} reverted");
                return receipt;
            }
            assert!(Instant::now() < end, "{hash} was not mined in {MINED:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until_ready(&self) {
        let end = Instant::now() + READY;
        while let Err(error) = self.try_rpc("eth_chainId", json!([])).await {
            assert!(Instant::now() < end, "anvil does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The program itself, past the package's launcher: ending the launcher would leave the program.
fn binary() -> PathBuf {
    let packages = repository("anvil-fixtures/node_modules/@foundry-rs");
    let found = std::fs::read_dir(&packages).ok().and_then(|entries| {
        let binaries = entries.flatten().map(|entry| entry.path().join("bin/anvil"));
        binaries.into_iter().find(|path| path.is_file())
    });
    found.unwrap_or_else(|| {
        panic!(
            "there is no anvil under {}: run `make fixtures` (or `npm ci` in anvil-fixtures)",
            packages.display()
        )
    })
}

#[tokio::test]
async fn anvil_starts_and_its_contracts_work() {
    let anvil = Anvil::start_with(&["--chain-id", "31338"]).await;
    assert_eq!(anvil.rpc("eth_chainId", json!([])).await, "0x7a6a");
    assert!(anvil.ws_url().starts_with("ws://127.0.0.1:"));
    let accounts = anvil.accounts().await;
    let (owner, payer, treasury) = (accounts[0], accounts[1], accounts[2]);

    let usdc = anvil.deploy("TestUSDC").await;
    let fifteen = U256::from(15_000_000);
    anvil
        .send(
            owner,
            usdc,
            TestUsdc::mintCall {
                to: payer,
                amount: fifteen,
            },
        )
        .await;
    let transfer = TestUsdc::transferCall {
        to: treasury,
        value: fifteen,
    };
    let receipt = anvil.send(payer, usdc, transfer).await;
    assert_eq!(receipt["logs"].as_array().unwrap().len(), 1);
    let balance = anvil
        .call(usdc, TestUsdc::balanceOfCall { account: treasury })
        .await;
    assert_eq!(balance, fifteen);

    let members = anvil.deploy("MemberNft").await;
    let id = U256::from(7);
    anvil
        .send(owner, members, MemberNft::mintCall { to: payer, id })
        .await;
    assert_eq!(anvil.call(members, MemberNft::ownerOfCall { id }).await, payer);

    let before = anvil.rpc("eth_blockNumber", json!([])).await;
    anvil.mine(3).await;
    assert_ne!(anvil.rpc("eth_blockNumber", json!([])).await, before);
}

#[tokio::test]
async fn two_anvils_are_two_chains() {
    let (one, other) = tokio::join!(Anvil::start(), Anvil::start());
    one.mine(5).await;
    assert_eq!(one.rpc("eth_blockNumber", json!([])).await, "0x5");
    assert_eq!(other.rpc("eth_blockNumber", json!([])).await, "0x0");
}

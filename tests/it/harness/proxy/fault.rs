//! What can be wrong between a client and its node: each fault, what it strikes, and what it makes of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::B256;
use serde_json::{Value, json};

/// A way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Ws,
    Http,
}

/// What is done instead of passing on what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes the connection that asks. Of every method: each open connection at once, and each new one; of both ways too:
    /// connections are refused.
    Cut,
    /// Answers nothing, and reads on. Of every method: a connection that was stalled stays so, also after the fault.
    Stall,
    /// Everything comes so much later.
    Delay(Duration),
    /// An HTTP status, and how many seconds it asks to wait. Over a socket: an error with that code.
    Status(u16, Option<u64>),
    /// A page of HTML with status 200.
    Html,
    /// The first half of the answer.
    Truncated,
    /// A body of [`HUGE_BYTES`], sent for as long as somebody reads it.
    Huge,
    /// The answer to a request that nobody made.
    WrongId,
    /// An error with this code and text.
    Error(i64, &'static str),
    /// `[]` in place of a list, null in place of anything else.
    Empty,
    /// The first log that is answered is left out.
    DropFirstLog,
    /// The last log that is answered is left out.
    DropLastLog,
    /// The last of a block's receipts is left out.
    DropReceipt,
    /// A block's receipts do not rebuild the root of its header; their logs are true.
    FalseReceipts,
    /// Another chain's id.
    ChainId(u64),
    /// Another block 0.
    Genesis(B256),
    /// A node that has seen nothing above this block yet.
    LagAt(u64),
    /// Notifications are lost.
    Lose,
    /// Notifications come twice.
    Repeat,
    /// Of two notifications the second comes first.
    Swap,
}

/// How long a [`Fault::Huge`] body is.
pub const HUGE_BYTES: u64 = 200_000_000;

/// A fault with what it strikes: everything, until it is told otherwise.
#[derive(Debug)]
pub struct Rule {
    pub(super) fault: Fault,
    way: Option<Way>,
    methods: Vec<&'static str>,
    containing: String,
    strikes: AtomicU64,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            way: None,
            methods: Vec::new(),
            containing: String::new(),
            strikes: AtomicU64::new(0),
        }
    }
}

impl Fault {
    /// Only on this way.
    pub fn over(self, way: Way) -> Rule {
        Rule::from(self).over(way)
    }

    /// Only requests for these methods; `newHeads` and `logs` are the notifications.
    pub fn of(self, methods: &[&'static str]) -> Rule {
        Rule::from(self).of(methods)
    }
}

impl Rule {
    /// Only on this way.
    pub fn over(self, way: Way) -> Self {
        Self {
            way: Some(way),
            ..self
        }
    }

    /// Only requests for these methods; `newHeads` and `logs` are the notifications.
    pub fn of(self, methods: &[&'static str]) -> Self {
        Self {
            methods: methods.to_vec(),
            ..self
        }
    }

    /// Only requests whose parameters hold this text, in lower case.
    pub fn containing(self, text: &str) -> Self {
        Self {
            containing: text.to_lowercase(),
            ..self
        }
    }

    /// How often it made a difference.
    pub fn strikes(&self) -> u64 {
        self.strikes.load(Ordering::Relaxed)
    }

    pub(super) fn struck(&self) {
        self.strikes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether whole connections of this way are struck.
    pub(super) fn strikes_connections(&self, way: Way) -> bool {
        self.methods.is_empty() && self.containing.is_empty() && self.way.is_none_or(|only| only == way)
    }

    pub(super) fn matches(&self, way: Way, method: &str, params: &Value) -> bool {
        self.way.is_none_or(|only| only == way)
            && (self.methods.is_empty() || self.methods.contains(&method))
            && (self.containing.is_empty() || params.to_string().to_lowercase().contains(&self.containing))
    }

    /// Asks for something else, where that is what the fault is.
    pub(super) fn change_request(&self, request: &mut Value) {
        let Fault::LagAt(head) = self.fault else { return };
        let params = request.get_mut("params").and_then(Value::as_array_mut);
        for param in params.into_iter().flatten() {
            if *param == "latest" {
                *param = quantity(head);
                self.struck();
            }
        }
    }

    /// Changes what is answered, where that is what the fault is.
    pub fn change_answer(&self, request: &Value, answer: &mut Value) {
        let before = answer.clone();
        match self.fault {
            Fault::WrongId => answer["id"] = json!(u32::MAX),
            Fault::Error(code, message) => *answer = error(request, code, message),
            Fault::LagAt(head) if is_beyond(head, request) => {
                *answer = error(request, -32000, "block range extends beyond current head block");
            }
            _ => {
                if let Some(result) = answer.get_mut("result") {
                    self.change_result(request, result);
                }
            }
        }
        if *answer != before {
            self.struck();
        }
    }

    fn change_result(&self, request: &Value, result: &mut Value) {
        match self.fault {
            Fault::Empty if result.is_array() => *result = json!([]),
            Fault::Empty => *result = Value::Null,
            Fault::DropFirstLog => drop_log(result, Which::First),
            Fault::DropLastLog => drop_log(result, Which::Last),
            Fault::DropReceipt => {
                result.as_array_mut().and_then(Vec::pop);
            }
            Fault::FalseReceipts => {
                for receipt in result.as_array_mut().into_iter().flatten() {
                    receipt["cumulativeGasUsed"] = quantity(1);
                }
            }
            Fault::ChainId(id) if request["method"] == "eth_chainId" => *result = quantity(id),
            Fault::Genesis(hash) if result["number"] == "0x0" => result["hash"] = json!(hash),
            Fault::LagAt(head) if request["method"] == "eth_blockNumber" => *result = quantity(head),
            Fault::LagAt(head) => {
                let numbers = [
                    &result["number"],
                    &result["blockNumber"],
                    &result[0]["blockNumber"],
                ];
                if numbers.into_iter().any(|number| is_above(head, number)) {
                    *result = Value::Null;
                }
            }
            _ => {}
        }
    }
}

/// The rules that are in force, oldest first.
pub(super) type Rules = Vec<Arc<Rule>>;

/// The error answer to a request.
pub(super) fn error(request: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})
}

/// Whether logs are asked for that a node at `head` does not have.
fn is_beyond(head: u64, request: &Value) -> bool {
    request["method"] == "eth_getLogs" && is_above(head, &request["params"][0]["toBlock"])
}

fn is_above(head: u64, number: &Value) -> bool {
    number_of(number).is_some_and(|number| number > head)
}

#[derive(Clone, Copy)]
enum Which {
    First,
    Last,
}

/// Of a list of logs, or of a list of receipts.
fn drop_log(result: &mut Value, which: Which) {
    let Some(list) = result.as_array_mut() else { return };
    let of_receipts = list.iter().any(|one| one["logs"].is_array());
    if !of_receipts {
        take(list, which);
        return;
    }
    let mut logs = list
        .iter_mut()
        .filter_map(|receipt| receipt["logs"].as_array_mut())
        .filter(|logs| !logs.is_empty());
    let found = match which {
        Which::First => logs.next(),
        Which::Last => logs.next_back(),
    };
    if let Some(logs) = found {
        take(logs, which);
    }
}

fn take(logs: &mut Vec<Value>, which: Which) {
    match which {
        _ if logs.is_empty() => {}
        Which::First => drop(logs.remove(0)),
        Which::Last => drop(logs.pop()),
    }
}

pub(super) fn number_of(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

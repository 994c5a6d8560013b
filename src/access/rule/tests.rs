//! Reading, checking and deciding rules, the last against brute force.

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};

use super::decide::{at_least, not};
use super::*;
use crate::domain::{
    Aggregation, Amount, Asset, ChainId, ContractAt, Contracts, Eligibility, Gap, IdRange, PlanId, Reading,
    UserId,
};

mod brute_force;
mod flat;
mod holdings;

use Eligibility::{Eligible, Ineligible, Unknown};

const CONTRACT: &str = "0xBC4CA0EdA7647A8aB7C2061c2E118A18a936f13D";
const OUTCOMES: [Eligibility; 3] = [Eligible, Ineligible, Unknown];

fn leaf(contract: u8, minimum: u64) -> Rule {
    Rule::Erc721Balance {
        contracts: Contracts::one(ChainId(1), Address::repeat_byte(contract)),
        at_least: Amount::from(minimum),
        aggregation: Aggregation::Sum,
    }
}

/// A configuration with one token of 6 decimals, and a plan with an alias.
struct Here;

impl Surroundings for Here {
    fn decimals(&self, chain: ChainId, contract: Address) -> Option<u8> {
        (chain == ChainId(1) && contract == Address::repeat_byte(6)).then_some(6)
    }

    fn plan(&self, name: &str) -> Option<PlanId> {
        matches!(name, "pro" | "Professional").then(|| PlanId::from("pro"))
    }
}

fn parse(value: &Value) -> Result<Parsed, RuleError> {
    super::parse(value, &Here)
}

/// One wallet whose balances follow from the contract's first byte.
struct ByContract<F>(F);

impl<F: Fn(usize) -> Reading> Readings for ByContract<F> {
    fn user(&self) -> Option<&UserId> {
        None
    }

    fn wallets(&self) -> &[Address] {
        &[Address::ZERO]
    }

    fn balance(&self, at: &ContractAt, _: Asset, _: Address) -> Reading {
        self.0(usize::from(at.contract.0[0]))
    }

    fn holds_one_in(&self, at: &ContractAt, _: &[IdRange], _: Address) -> Reading {
        self.0(usize::from(at.contract.0[0]))
    }

    fn plan_active(&self, _: &PlanId) -> Reading {
        UNREAD
    }
}

const UNREAD: Reading = Reading::Unknown(Gap::NotRead);

fn decide(rule: &Rule, reading: impl Fn(usize) -> Reading) -> crate::domain::Decision {
    super::decide(rule, &ByContract(reading))
}

fn leaf_json() -> Value {
    json!({"type": "erc721_balance", "chainId": 1, "contract": CONTRACT, "atLeast": "2"})
}

fn not_over(rule: Rule) -> Rule {
    Rule::Not { of: Box::new(rule) }
}

fn pointer_of(value: &Value) -> String {
    parse(value).unwrap_err().pointer
}

#[test]
fn a_tree_is_read_and_its_written_form_reads_back() {
    let parsed = parse(&json!({"type": "all", "of": [
        leaf_json(),
        {"type": "at_least", "k": 1, "of": [{"type": "any", "of": [leaf_json()]}]},
        {"type": "not", "of": {"type": "erc721_balance", "chainId": "polygon", "contract": CONTRACT}},
    ]}))
    .unwrap();
    assert_eq!(
        parsed.lints,
        [Lint {
            pointer: "/of/2".to_owned(),
            code: LintCode::NotOverBalance
        }]
    );
    let written = serde_json::to_value(&parsed.rule).unwrap();
    assert_eq!(parse(&written).unwrap(), parsed);
    assert_eq!(serde_json::from_value::<Rule>(written).unwrap(), parsed.rule);
}

#[test]
fn each_refusal_points_to_its_place() {
    let with = |key: &str, value: Value| {
        let mut leaf = leaf_json();
        leaf[key] = value;
        json!({"type": "all", "of": [leaf_json(), leaf]})
    };
    for (value, pointer) in [
        (json!(null), ""),
        (json!([]), ""),
        (json!({}), "/type"),
        (json!({"type": "some", "of": []}), "/type"),
        (json!({"type": "all"}), "/of"),
        (json!({"type": "all", "of": []}), "/of"),
        (json!({"type": "any", "of": {}}), "/of"),
        (json!({"type": "all", "of": [7]}), "/of/0"),
        (
            json!({"type": "all", "of": [leaf_json()], "a/b~c": 1}),
            "/a~1b~0c",
        ),
        (json!({"type": "not"}), "/of"),
        (json!({"type": "not", "of": [leaf_json()]}), "/of"),
        (json!({"type": "at_least", "of": [leaf_json()]}), "/k"),
        (json!({"type": "at_least", "k": 0, "of": [leaf_json()]}), "/k"),
        (json!({"type": "at_least", "k": 2, "of": [leaf_json()]}), "/k"),
        (json!({"type": "at_least", "k": 1.5, "of": [leaf_json()]}), "/k"),
        (
            json!({"type": "at_least", "k": 4_294_967_297_u64, "of": [leaf_json()]}),
            "/k",
        ),
        (json!({"type": "at_least", "k": 1, "of": []}), "/of"),
        (with("atLeast", json!("0")), "/of/1/atLeast"),
        (with("atLeast", json!(0)), "/of/1/atLeast"),
        (with("atLeast", json!("-1")), "/of/1/atLeast"),
        (with("atLeast", json!(1.5)), "/of/1/atLeast"),
        (with("atLeast", json!("1".repeat(90))), "/of/1/atLeast"),
        (with("atleast", json!("1")), "/of/1/atleast"),
        (with("chainId", json!(0)), "/of/1/chainId"),
        (with("chainId", json!("solana")), "/of/1/chainId"),
        (with("chainId", json!(null)), "/of/1/chainId"),
        (with("contract", json!("0x12")), "/of/1/contract"),
        (with("contract", json!(&CONTRACT[2..])), "/of/1/contract"),
        (with("contract", json!(Address::ZERO)), "/of/1/contract"),
        (
            with("contract", json!(CONTRACT.replace('B', "b"))),
            "/of/1/contract",
        ),
        (with("type", json!("native_balance")), "/of/1/type"),
        (with("heldFor", json!("1d")), "/of/1/heldFor"),
        (with("atBlock", json!(7)), "/of/1/atBlock"),
        (with("aggregation", json!("max")), "/of/1/aggregation"),
    ] {
        assert_eq!(pointer_of(&value), pointer, "{value}");
    }
}

#[test]
fn leaves_to_come_are_not_available_rather_than_unknown() {
    for (value, message) in [
        (
            json!({"type": "contract_call"}),
            "is \"contract_call\", which is not available yet",
        ),
        (
            json!({"type": "native", "contractAddress": CONTRACT}),
            "is \"native\", which is not available yet",
        ),
        (
            json!({"type": "erc721", "contractAddress": CONTRACT, "condition": {"type": "trait_match"}}),
            "is \"trait_match\", which is not available yet",
        ),
        (
            json!({"type": "erc20"}),
            "is \"erc20\", which belongs to the flat form with a \"contractAddress\"",
        ),
    ] {
        assert_eq!(parse(&value).unwrap_err().message, message);
    }
}

#[test]
fn checksums_are_checked_where_there_are_any() {
    let contract: Address = CONTRACT.parse().unwrap();
    for text in [
        CONTRACT.to_owned(),
        CONTRACT.to_lowercase(),
        format!("0x{}", CONTRACT[2..].to_uppercase()),
    ] {
        let parsed = parse(&json!({"type": "erc721_balance", "chainId": 1, "contract": text})).unwrap();
        assert_eq!(needs(&parsed.rule)[0].contract, contract);
    }
}

#[test]
fn size_and_depth_are_bounded_before_anything_is_built() {
    let wide = |branches: usize| json!({"type": "any", "of": vec![leaf_json(); branches]});
    assert!(parse(&wide(MAX_NODES - 1)).is_ok());
    for branches in [MAX_NODES, 10_000] {
        let refused = parse(&wide(branches)).unwrap_err();
        assert_eq!(refused.pointer, format!("/of/{}", MAX_NODES - 1));
    }
    let deep = |levels: usize| (1..levels).fold(leaf_json(), |inner, _| json!({"type": "not", "of": inner}));
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    for levels in [MAX_DEPTH + 1, 2_000] {
        let refused = parse(&deep(levels)).unwrap_err();
        assert_eq!(refused.pointer, "/of".repeat(MAX_DEPTH));
    }
    // A rule that was not read here is bounded too.
    let built = (0..MAX_DEPTH).fold(leaf(1, 1), |inner, _| not_over(inner));
    assert_eq!(validate(&built).unwrap_err().pointer, "/of".repeat(MAX_DEPTH));
    let many = Rule::Any {
        of: vec![leaf(1, 1); MAX_NODES],
    };
    assert!(validate(&many).is_err());
}

#[test]
fn only_a_balance_that_must_not_be_held_is_remarked() {
    let pointers = |rule: &Rule| -> Vec<String> {
        let lints = validate(rule).unwrap();
        lints.into_iter().map(|lint| lint.pointer).collect()
    };
    assert!(pointers(&leaf(1, 1)).is_empty());
    assert_eq!(pointers(&not_over(leaf(1, 1))), [""]);
    assert!(pointers(&not_over(not_over(leaf(1, 1)))).is_empty());
    let two = Rule::All {
        of: vec![leaf(1, 1), leaf(2, 1)],
    };
    assert_eq!(
        pointers(&Rule::Any {
            of: vec![leaf(3, 1), not_over(two)]
        }),
        ["/of/1"]
    );
}

#[test]
fn needs_are_distinct() {
    let rule = Rule::All {
        of: vec![leaf(2, 1), not_over(leaf(1, 5)), leaf(2, 9)],
    };
    let contracts: Vec<Address> = needs(&rule).iter().map(|read| read.contract).collect();
    assert_eq!(contracts, [Address::repeat_byte(1), Address::repeat_byte(2)]);
}

#[test]
fn the_trace_names_every_leaf_with_its_place_and_value() {
    let rule = Rule::Any {
        of: vec![
            leaf(1, 1),
            not_over(Rule::All { of: vec![leaf(2, 3)] }),
            leaf(3, 2),
        ],
    };
    let decision = decide(&rule, |contract| match contract {
        3 => UNREAD,
        other => Reading::Known(U256::from(other)),
    });
    assert_eq!(decision.eligibility, Eligible);
    let trace: Vec<_> = decision
        .trace
        .iter()
        .map(|leaf| (leaf.pointer.as_str(), leaf.reading, leaf.at_least, leaf.outcome))
        .collect();
    let number = U256::from::<u64>;
    assert_eq!(
        trace,
        [
            ("/of/0", Reading::Known(number(1)), Some(number(1)), Eligible),
            (
                "/of/1/of/of/0",
                Reading::Known(number(2)),
                Some(number(3)),
                Ineligible
            ),
            ("/of/2", UNREAD, Some(number(2)), Unknown),
        ]
    );
    let read = &decision.trace[1].reads[0];
    assert_eq!((read.at.contract.0[0], read.wallet), (2, Address::ZERO));
    assert_eq!(read.reading, Reading::Known(number(2)));
}

#[test]
fn a_minimum_is_inclusive() {
    for (balance, outcome) in [
        (U256::from(4), Ineligible),
        (U256::from(5), Eligible),
        (U256::MAX, Eligible),
    ] {
        assert_eq!(
            decide(&leaf(1, 5), |_| Reading::Known(balance)).eligibility,
            outcome
        );
    }
    assert_eq!(decide(&leaf(1, 5), |_| UNREAD).eligibility, Unknown);
}

#[test]
fn a_combinator_that_is_not_sound_decides_nothing() {
    let held = |_| Reading::Known(U256::MAX);
    for rule in [
        Rule::All { of: vec![] },
        Rule::Any { of: vec![] },
        Rule::AtLeast {
            k: 0,
            of: vec![leaf(1, 1)],
        },
        Rule::AtLeast {
            k: 2,
            of: vec![leaf(1, 1)],
        },
    ] {
        assert_eq!(decide(&rule, held).eligibility, Unknown);
        assert_eq!(decide(&not_over(rule), held).eligibility, Unknown);
    }
}

/// Every way to choose `count` of three outcomes.
fn all_outcomes(count: u32) -> impl Iterator<Item = Vec<Eligibility>> {
    (0..3_usize.pow(count)).map(move |code| {
        (0..count)
            .map(|digit| OUTCOMES[code / 3_usize.pow(digit) % 3])
            .collect()
    })
}

/// What k of n gives in every world that the unknowns allow: the answer where all agree, else unknown.
fn in_every_world(k: usize, outcomes: &[Eligibility]) -> Eligibility {
    let unknown: Vec<usize> = (0..outcomes.len())
        .filter(|at| outcomes[*at] == Unknown)
        .collect();
    let mut answers = (0..1_usize << unknown.len()).map(|world| {
        let held = outcomes.iter().enumerate().filter(|(at, outcome)| {
            let place = unknown.iter().position(|unknown| unknown == at);
            place.map_or(**outcome == Eligible, |place| world >> place & 1 == 1)
        });
        held.count() >= k
    });
    let first = answers.next().unwrap();
    match (first, answers.all(|answer| answer == first)) {
        (true, true) => Eligible,
        (false, true) => Ineligible,
        (_, false) => Unknown,
    }
}

#[test]
fn every_truth_table_is_kleenes() {
    for count in 1..=5 {
        for outcomes in all_outcomes(count) {
            for k in 1..=outcomes.len() {
                assert_eq!(
                    at_least(k, &outcomes),
                    in_every_world(k, &outcomes),
                    "{k} of {outcomes:?}"
                );
            }
        }
    }
    assert_eq!(OUTCOMES.map(not), [Ineligible, Eligible, Unknown]);
    // The two classical tables, by the tree itself.
    for outcomes in all_outcomes(2) {
        let reading = |contract: usize| match outcomes[contract] {
            Eligible => Reading::Known(U256::from(1)),
            Ineligible => Reading::Known(U256::ZERO),
            Unknown => UNREAD,
        };
        let of = vec![leaf(0, 1), leaf(1, 1)];
        let (all, any) = (Rule::All { of: of.clone() }, Rule::Any { of });
        assert_eq!(decide(&all, reading).eligibility, in_every_world(2, &outcomes));
        assert_eq!(decide(&any, reading).eligibility, in_every_world(1, &outcomes));
    }
}

/// The same seed gives the same rules.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn rule(&mut self, depth: u32) -> Rule {
        let kind = if depth == 0 { 0 } else { self.below(6) };
        if kind <= 1 {
            let contract = u8::try_from(self.below(5)).unwrap();
            return leaf(contract, 1 + self.below(3));
        }
        if kind == 2 {
            return not_over(self.rule(depth - 1));
        }
        let of: Vec<Rule> = (0..=self.below(3)).map(|_| self.rule(depth - 1)).collect();
        match kind {
            3 => Rule::All { of },
            4 => Rule::Any { of },
            _ => {
                let branches = u32::try_from(of.len()).unwrap();
                let k = 1 + u32::try_from(self.below(u64::from(branches))).unwrap();
                Rule::AtLeast { k, of }
            }
        }
    }
}

/// The rule over known balances, in two-valued logic and by another way.
fn holds(rule: &Rule, balances: &[u64; 5]) -> bool {
    match rule {
        Rule::All { of } => of.iter().all(|branch| holds(branch, balances)),
        Rule::Any { of } => of.iter().any(|branch| holds(branch, balances)),
        Rule::Not { of } => !holds(of, balances),
        Rule::AtLeast { k, of } => {
            let held = of.iter().filter(|branch| holds(branch, balances)).count();
            held >= usize::try_from(*k).unwrap()
        }
        Rule::Erc721Balance {
            contracts, at_least, ..
        } => {
            let contract = contracts.as_slice()[0].contract;
            U256::from(balances[usize::from(contract.0[0])]) >= at_least.0
        }
        leaf => panic!("{leaf:?} is judged elsewhere"),
    }
}

#[test]
fn no_value_of_an_unknown_balance_contradicts_a_known_answer() {
    let mut random = Random(7);
    let mut known_despite_unknown = 0;
    for _ in 0..1_500 {
        let rule = random.rule(4);
        validate(&rule).unwrap();
        let readings: [Option<u64>; 5] =
            std::array::from_fn(|_| (random.below(2) == 0).then(|| random.below(5)));
        let decision = decide(&rule, |contract| {
            readings[contract].map_or(UNREAD, |balance| Reading::Known(U256::from(balance)))
        });
        // Minimums are 1 to 3, so 0 to 3 are all the balances that can differ.
        for world in 0..4_u64.pow(5) {
            let balances: [u64; 5] = std::array::from_fn(|at| {
                readings[at].unwrap_or(world / 4_u64.pow(u32::try_from(at).unwrap()) % 4)
            });
            let held = holds(&rule, &balances);
            match decision.eligibility {
                Eligible => assert!(held, "{rule:?} {readings:?} {balances:?}"),
                Ineligible => assert!(!held, "{rule:?} {readings:?} {balances:?}"),
                Unknown => break,
            }
        }
        let all_known = needs(&rule)
            .iter()
            .all(|read| readings[usize::from(read.contract.0[0])].is_some());
        if all_known {
            assert_ne!(decision.eligibility, Unknown, "{rule:?}");
        } else if decision.eligibility != Unknown {
            known_despite_unknown += 1;
        }
    }
    assert!(known_despite_unknown > 100, "{known_despite_unknown}");
}

//! Who may enter: rules over holdings, plans and lists, and their decisions.
//!
//! Pure. It says which contracts a rule needs, and decides once their balances are given; where they come from and what a
//! decision opens is not its business. An unknown balance is never taken for a no, and a rule that is not sound lets nobody
//! in.

mod rule;

pub use rule::{
    Lint, LintCode, MAX_DEPTH, MAX_ENTRIES, MAX_NODES, Parsed, Readings, RuleError, Surroundings, decide,
    needs, parse, parse_address, parse_chain, parse_token_id, validate,
};

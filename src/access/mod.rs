//! Who may enter: rules over holdings, and their decisions.
//!
//! Pure. It says which balances a rule needs, and decides once they are given; where they come from and what a decision
//! opens is not its business. An unknown balance is never taken for a no, and a rule that is not sound lets nobody in.

mod rule;

pub use rule::{
    Lint, LintCode, MAX_DEPTH, MAX_NODES, Parsed, RuleError, decide, needs, parse, parse_address,
    parse_chain, validate,
};

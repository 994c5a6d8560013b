//! Scenarios of the one door, on both databases: a chain made by hand goes in, and what follows is looked at from outside.
//!
//! Each scenario ends with `assert_reload_is_identity`: an engine that starts from the database answers the same.

mod deadlines;
mod holdings;
mod matching;
mod settling;

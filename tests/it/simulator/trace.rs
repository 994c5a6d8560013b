//! What happened in a run: its digest, and its text for whoever replays it.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};

/// Everything that was noted, in order. Hashes and amounts are left out: the amounts of charges are drawn by the system.
#[derive(Default)]
pub struct Trace {
    hasher: DefaultHasher,
    is_loud: bool,
    pub events: u64,
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hasher.write(text.as_bytes());
        if self.is_loud {
            print!("{text}");
        }
        Ok(())
    }
}

impl Trace {
    /// One that is printed too, or not.
    pub fn new(is_loud: bool) -> Self {
        Self {
            is_loud,
            ..Self::default()
        }
    }

    pub fn note(&mut self, at_ms: i64, what: fmt::Arguments<'_>) {
        self.events += 1;
        writeln!(self, "{at_ms:>8} {what}").expect("a trace takes all");
    }

    /// Only told.
    pub fn aside(&self, at_ms: i64, what: fmt::Arguments<'_>) {
        if self.is_loud {
            println!("{at_ms:>8}   ({what})");
        }
    }

    /// The same for the same run.
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}

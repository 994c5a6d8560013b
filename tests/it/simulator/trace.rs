//! What happened in a run: its digest, and its text for whoever replays it.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};

/// Everything that was noted, in order. Hashes and amounts are left out: the amounts of charges are drawn by the system.
#[derive(Default)]
pub struct Trace {
    hasher: DefaultHasher,
    /// All of it, where it is wanted.
    text: Option<String>,
    pub events: u64,
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hasher.write(text.as_bytes());
        if let Some(all) = &mut self.text {
            all.push_str(text);
        }
        Ok(())
    }
}

impl Trace {
    /// One whose text is kept too, or not.
    pub fn new(is_kept: bool) -> Self {
        Self {
            text: is_kept.then(String::new),
            ..Self::default()
        }
    }

    pub fn note(&mut self, at_ms: i64, what: fmt::Arguments<'_>) {
        self.events += 1;
        writeln!(self, "{at_ms:>8} {what}").expect("a trace takes all");
    }

    /// Only in the text.
    pub fn aside(&mut self, at_ms: i64, what: fmt::Arguments<'_>) {
        if let Some(all) = &mut self.text {
            writeln!(all, "{at_ms:>8}   ({what})").expect("a text takes all");
        }
    }

    /// What was kept.
    pub fn take_text(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }

    /// The same for the same run.
    pub fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}

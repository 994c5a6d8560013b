//! How the story is told: numbered steps, each line with its mark and the time since its step began.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

/// Tells on standard output, and counts what held.
pub struct Teller {
    colours: bool,
    began: Instant,
    told: u32,
    held: u32,
}

/// One step that is being told.
pub struct Step {
    colours: bool,
    began: Instant,
}

impl Teller {
    /// Colours are for terminals, and for those who want them (<https://no-color.org>).
    pub fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            colours: std::io::stdout().is_terminal() && !unwanted && !dumb,
            began: Instant::now(),
            told: 0,
            held: 0,
        }
    }

    /// A heading between the steps.
    pub fn title(&self, text: &str) {
        println!("\n{}", painted(self.colours, BOLD, text));
    }

    /// Text that is somebody else's.
    pub fn aside(&self, title: &str, text: &str) {
        self.title(title);
        println!("{text}");
    }

    /// Something that fails outside of the story.
    pub fn problem(&self, failure: &Failure) {
        println!("{} {}", painted(self.colours, RED, "✗"), failure.0);
    }

    /// Tells what a step does while it does it; none where it does not hold.
    pub async fn step<T>(
        &mut self,
        number: u32,
        title: &str,
        act: impl AsyncFnOnce(&Step) -> Outcome<T>,
    ) -> Option<T> {
        self.title(&format!("{number}  {title}"));
        let step = Step {
            colours: self.colours,
            began: Instant::now(),
        };
        self.told += 1;
        let outcome = act(&step).await;
        match outcome {
            Ok(value) => {
                self.held += 1;
                let text = format!("step {number} held, in {}", spell(step.began.elapsed()));
                println!("{:16}{}", "", painted(self.colours, DIM, &text));
                Some(value)
            }
            Err(Failure(problem)) => {
                step.line("✗", RED, &problem);
                None
            }
        }
    }

    /// Whether every step that was told held.
    pub fn all_held(&self) -> bool {
        self.told > 0 && self.told == self.held
    }

    /// The last line.
    pub fn conclude(&self) {
        let (mark, colour) = if self.all_held() {
            ("✓", GREEN)
        } else {
            ("✗", RED)
        };
        let (held, told) = (self.held, self.told);
        let took = spell(self.began.elapsed());
        let mark = painted(self.colours, colour, mark);
        println!("\n{mark} {held} of {told} steps held, in {took}");
    }
}

impl Step {
    /// Something that the demo did.
    pub fn did(&self, text: impl Display) {
        self.line("→", DIM, &text);
    }

    /// Something that was observed, and is as it must be.
    pub fn saw(&self, text: impl Display) {
        self.line("✓", GREEN, &text);
    }

    /// More about the line before.
    pub fn note(&self, text: impl Display) {
        println!("{:16}{}", "", painted(self.colours, DIM, &text.to_string()));
    }

    fn line(&self, mark: &str, colour: &str, text: &dyn Display) {
        let at = format!("{:>8} ms", self.began.elapsed().as_millis());
        println!(
            "{}  {}  {text}",
            painted(self.colours, DIM, &at),
            painted(self.colours, colour, mark)
        );
    }
}

fn painted(colours: bool, code: &str, text: &str) -> String {
    if colours {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A duration as people say it: milliseconds below two seconds, seconds above.
pub fn spell(duration: Duration) -> String {
    if duration < Duration::from_secs(2) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

//! What the service counts of itself, read as `/metrics` would show it. All tests of this process share it, so that each
//! must name its chains differently.

use std::sync::OnceLock;

use tollgate::metrics::{self, Recorder};

/// Counts from now on, if it did not before.
pub fn start() {
    recorder();
}

/// The sum of a counter's or a whole gauge's samples whose labels hold all of these, such as `endpoint="first"`.
pub fn counted(metric: &str, labels: &[&str]) -> u64 {
    let rendered = recorder().render();
    let samples = rendered.lines().filter_map(|line| {
        let (found, rest) = line.split_once('{')?;
        let (found_labels, value) = rest.rsplit_once("} ")?;
        let is_meant = found == metric && labels.iter().all(|label| found_labels.contains(label));
        is_meant.then(|| value.parse::<u64>().unwrap())
    });
    samples.sum()
}

fn recorder() -> &'static Recorder {
    static RECORDER: OnceLock<Recorder> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().unwrap())
}

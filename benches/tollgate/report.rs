//! The result lines, with the fields of benchmarks.md.

use serde::Serialize;

use super::Outcome;

/// One result. What does not apply is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    pub bench: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// What was done, where a bench has several cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Ours against `against`, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
}

impl Line {
    pub fn print(&self) -> Outcome {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// Rounded to so many decimals: more would be noise.
pub fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// A count as a float; counts here are far below 2^32, where it is exact.
pub fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// So many per second.
pub fn rate(count: u64, seconds: f64) -> f64 {
    float(count) / seconds.max(1e-9)
}

/// The value below which `percent` of the values are: the nearest rank. Zero of none.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

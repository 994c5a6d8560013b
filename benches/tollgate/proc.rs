//! What the kernel says of a process.

use super::Outcome;

/// A size of `/proc/<process>/status`, such as `VmHWM`, in MB.
fn size_mb(process: &str, field: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes: u32 = value
        .and_then(|value| value.split_whitespace().next())
        .ok_or("the kernel does not say the size of a process")?
        .parse()?;
    Ok(f64::from(kilobytes) / 1024.0)
}

/// A process's own name for itself.
pub const SELF: &str = "self";

/// The memory that a process has resident.
pub fn rss_mb(process: &str) -> Outcome<f64> {
    size_mb(process, "VmRSS")
}

/// The most memory that a process ever had resident.
pub fn peak_rss_mb(process: &str) -> Outcome<f64> {
    size_mb(process, "VmHWM")
}

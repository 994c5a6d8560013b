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

/// The most memory that this process ever had resident.
pub fn peak_rss_mb() -> Outcome<f64> {
    size_mb("self", "VmHWM")
}

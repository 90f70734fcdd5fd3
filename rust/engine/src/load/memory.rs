//! How much memory this process may use.
use std::fs;

/// Bytes of memory of the machine, or of the container if that is less; `None` where the system does not say.
pub fn total_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo(&text));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

/// `MemTotal:       16303432 kB`.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_and_nonsense_is_not() {
        assert_eq!(meminfo("MemTotal:       16303432 kB\nMemFree: 1 kB\n"), Some(16_303_432 * 1024));
        assert_eq!(meminfo("MemTotal: many\n"), None);
        assert_eq!(meminfo(""), None);
    }
}

//! Bytes that are owned or borrowed from something that stays alive, such as a memory map. Knows nothing of what they mean.
use std::{ops::Range, sync::Arc};

/// A cheaply cloned view of immutable bytes.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes at `range` of `owner`, which is kept alive; `None` if the range is out of bounds.
    pub fn from_owner(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        (*owner).as_ref().get(range.clone())?;
        Some(Self { owner, range })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }
}

impl From<AlignedBytes> for Bytes {
    fn from(bytes: AlignedBytes) -> Self {
        let range = 0..bytes.len;
        Self { owner: Arc::new(bytes), range }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // An owner that changes its length loses its bytes rather than its memory safety.
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.range.len())
    }
}

/// Zeroed bytes that start on a cache line. Untouched pages of a large buffer cost no memory.
pub struct AlignedBytes {
    /// Longer than `len`, so that it holds a cache line's start. An allocation that is aligned itself would be zeroed by
    /// writing to it; this one comes from the system as zeros.
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let memory = vec![0; len + LINE - 1];
        let start = memory.as_ptr().addr().wrapping_neg() % LINE;
        Self { memory, start, len }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_bytes_start_on_a_cache_line() {
        for len in [0, 1, 63, 64, 1000, 1 << 21] {
            let mut bytes = AlignedBytes::zeroed(len);
            assert_eq!((bytes.as_mut().len(), bytes.as_ref().as_ptr().addr() % LINE), (len, 0));
            assert!(bytes.as_ref().iter().all(|&byte| byte == 0));
        }
    }

    /// What is never touched must not count: a model reserves KV memory for many contexts.
    #[cfg(target_os = "linux")]
    #[test]
    fn untouched_bytes_cost_no_memory() {
        let resident = || -> usize {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse().unwrap()
        };
        let before = resident();
        let bytes = AlignedBytes::zeroed(1 << 30);
        assert!(resident() - before < (1 << 30) / 4096 / 2, "{} bytes", bytes.as_ref().len());
    }
}

//! Puts packed matrices one behind the other in memory, in the order in which a pass reads them. Knows nothing of what they are for.
use std::sync::Arc;

use memmap2::MmapMut;
use synapse_kernels::{Bytes, Matrix};

use crate::{Error, Result};

/// What a matrix is aligned to.
const LINE: usize = 64;

/// Copies the matrices into one block. Many small ones lie all over the heap otherwise: reading them starts anew with each, and
/// every 4 KiB wants a look at the page tables.
pub fn gather(matrices: &mut [&mut Matrix]) -> Result<()> {
    let sizes: Vec<usize> = matrices.iter().map(|matrix| matrix.bytes().len().next_multiple_of(LINE)).collect();
    let block =
        copied(matrices, &sizes).map_err(|error| Error::Internal(format!("no memory for an adapter: {error}")))?;
    let mut at = 0;
    for (matrix, size) in matrices.iter_mut().zip(sizes) {
        let bytes = Bytes::from_owner(Arc::clone(&block) as _, at..at + matrix.bytes().len());
        let bytes = bytes.ok_or_else(|| Error::Internal("a matrix lies beyond its block".into()))?;
        **matrix =
            Matrix::from_packed(matrix.format(), matrix.rows(), matrix.cols(), bytes).map_err(Error::Internal)?;
        at += size;
    }
    Ok(())
}

fn copied(matrices: &[&mut Matrix], sizes: &[usize]) -> std::io::Result<Arc<memmap2::Mmap>> {
    let mut block = MmapMut::map_anon(sizes.iter().sum::<usize>().max(1))?;
    // A system without large pages does without.
    #[cfg(target_os = "linux")]
    let _ = block.advise(memmap2::Advice::HugePage);
    let mut at = 0;
    for (matrix, size) in matrices.iter().zip(sizes) {
        block[at..at + matrix.bytes().len()].copy_from_slice(matrix.bytes());
        at += size;
    }
    Ok(Arc::new(block.make_read_only()?))
}

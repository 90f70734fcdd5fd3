//! Where GGUF puts the rows of q and k of a Llama model. Knows no file.

/// In the file, a head's rows lie as the pairs that rotate together: 0, d/2, 1, d/2 + 1, ...
pub(crate) fn interleaved(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (side, pair) = (within / (head_dim / 2), within % (head_dim / 2));
    head * head_dim + 2 * pair + side
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What GGUF's converter does to q and k: `(heads, 2, d/2) -> (heads, d/2, 2)`.
    #[test]
    fn interleaved_undoes_the_permutation_of_gguf() {
        let (heads, head_dim) = (3, 6);
        let mut file = Vec::new();
        for head in 0..heads {
            for pair in 0..head_dim / 2 {
                file.extend([0, 1].map(|side| head * head_dim + side * head_dim / 2 + pair));
            }
        }
        let model: Vec<_> = (0..heads * head_dim).map(|row| file[interleaved(row, head_dim)]).collect();
        assert_eq!(model, (0..heads * head_dim).collect::<Vec<_>>());
    }
}

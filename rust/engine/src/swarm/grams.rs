//! Whose kin a request is, by a linear model of the tokens and bytes that follow each other. Knows no meanings.
//!
//! `python/synapse_engine/train/coordinator/grams.py` finds the rows in the same way when it learns them.
use std::ops::RangeInclusive;

use super::reading::Reading;
use crate::{Error, Result, batch::TokenId, files::TensorSource, tokenize::Tokenizer};

/// So many tokens in a row, and so many bytes.
const TOKENS: RangeInclusive<usize> = 1..=3;
const BYTES: RangeInclusive<usize> = 3..=5;
/// FNV-1a of 32 bits (Fowler, Noll, Vo).
const BASIS: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;
/// So few columns that a sum of them fits a register or two.
const MOST_COLUMNS: usize = 64;

/// A row of weights for each n-gram, by its hash.
pub struct Grams {
    table: Vec<f32>, // coordinator.grams (rows, columns)
    columns: usize,
    /// What each token spells; markers spell nothing.
    spelled: Vec<Vec<u8>>,
}

impl Grams {
    /// Takes its tensor from the model's file.
    pub fn new(tensors: &dyn TensorSource, tokenizer: &Tokenizer) -> Result<Self> {
        let fault = |found: String| {
            let wanted = format!("a power of two rows of 1 to {MOST_COLUMNS} numbers");
            Error::Model(format!("tensor `coordinator.grams`: expected {wanted}, found {found}"))
        };
        let tensor = tensors.tensor("coordinator.grams").ok_or_else(|| fault("none".into()))?;
        let columns = match *tensor.shape {
            [rows, columns] if rows.is_power_of_two() && (1..=MOST_COLUMNS).contains(&columns) => columns,
            _ => return Err(fault(format!("{:?}", tensor.shape))),
        };
        let spell = |token| match tokenizer.is_special(token) {
            true => Vec::new(),
            false => tokenizer.token_bytes(token),
        };
        let spelled = (0..tokenizer.vocab_size() as TokenId).map(spell).collect();
        Ok(Self { table: tensor.to_f32(), columns, spelled })
    }

    /// Length of an opinion: the families it tells apart.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Numbers in its tensor.
    pub fn parameters(&self) -> u64 {
        self.table.len() as u64
    }

    /// The sum of the rows of all n-grams, over the root of their number; those of the context differ from those of the request.
    pub fn opinion(&self, reading: &Reading) -> Vec<f32> {
        let (mut sum, mut count) = (vec![0.0; self.columns], 0);
        let (before, request) = reading.tokens.split_at(reading.request.start);
        for (part, tokens) in [(1, request), (2, before)] {
            let items: Vec<[u8; 3]> =
                tokens.iter().map(|token| [0, 8, 16].map(|shift| (token >> shift) as u8)).collect();
            count += self.add(&mut sum, part, &items, TOKENS);
            let spelled = tokens.iter().filter_map(|&token| self.spelled.get(token as usize)).flatten();
            let bytes: Vec<[u8; 1]> = spelled.map(|&byte| [byte]).collect();
            count += self.add(&mut sum, part + 2, &bytes, BYTES);
        }
        sum.iter_mut().for_each(|value| *value /= (count.max(1) as f32).sqrt());
        sum
    }

    /// Returns how many there were.
    fn add<const N: usize>(
        &self,
        sum: &mut [f32],
        part: u8,
        items: &[[u8; N]],
        lengths: RangeInclusive<usize>,
    ) -> usize {
        let mut count = 0;
        let rows = self.table.len() / self.columns;
        for start in 0..items.len() {
            let mut state = mix(BASIS, &[part]);
            for (at, item) in items[start..].iter().take(*lengths.end()).enumerate() {
                state = mix(state, item);
                if lengths.contains(&(at + 1)) {
                    let row = (state ^ (state >> 15)) as usize % rows;
                    let weights = &self.table[row * self.columns..][..self.columns];
                    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
                    count += 1;
                }
            }
        }
        count
    }
}

fn mix(state: u32, content: &[u8]) -> u32 {
    content.iter().fold(state, |state, &byte| (state ^ u32::from(byte)).wrapping_mul(PRIME))
}

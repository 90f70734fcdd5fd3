//! What a text is about: a sum over its tokens, of what each means by how much it tells. Knows no order and no request.
//!
//! `python/synapse_engine/train/coordinator/topic.py` adds up in the same way.
use synapse_kernels::{DType, dequantize};

use super::{
    reading::Reading,
    tensors::{tensor, values},
};
use crate::{Result, batch::TokenId, files::TensorSource};

/// The tokens of a vocabulary.
pub struct Topic {
    meanings: Vec<u8>, // tok_emb.weight (tokens, width), the encoder's own, as it lies in the file
    dtype: DType,
    telling: Vec<f32>, // coordinator.telling (tokens)
    width: usize,
}

impl Topic {
    /// Takes its tensors from the model's file; `tokens` and `width` are the encoder's.
    pub fn new(tensors: &dyn TensorSource, tokens: usize, width: usize) -> Result<Self> {
        let telling = values(tensors, "coordinator.telling", &[tokens])?;
        let meanings = tensor(tensors, "tok_emb.weight", &[tokens, width])?;
        Ok(Self { meanings: meanings.data.to_vec(), dtype: meanings.dtype, telling, width })
    }

    /// Numbers that are nobody else's.
    pub fn parameters(&self) -> u64 {
        self.telling.len() as u64
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        (self.meanings.len() + size_of_val(self.telling.as_slice())) as u64
    }

    /// The request's sum, and the direction of what stands before it, which decides if the request tells little. Its length means
    /// nothing.
    pub fn of(&self, reading: &Reading) -> Vec<f32> {
        let (before, request) = reading.tokens.split_at(reading.request.start);
        let (mut topic, context) = (self.sum(request), self.sum(before));
        let length = context.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            topic.iter_mut().zip(context).for_each(|(topic, value)| *topic += value / length);
        }
        topic
    }

    fn sum(&self, tokens: &[TokenId]) -> Vec<f32> {
        let (mut sum, mut meaning) = (vec![0.0; self.width], vec![0.0; self.width]);
        let bytes = self.meanings.len() / self.telling.len();
        let known = tokens.iter().map(|&token| token as usize).filter(|&token| token < self.telling.len());
        for token in known {
            dequantize(self.dtype, &self.meanings[token * bytes..][..bytes], &mut meaning);
            sum.iter_mut().zip(&meaning).for_each(|(sum, value)| *sum += self.telling[token] * value);
        }
        sum
    }
}

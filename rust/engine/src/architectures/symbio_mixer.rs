//! The weights of the organelles with their gate folded in, which does not depend on the input: convolutions become one kernel, and
//! what is left is one factor per channel. Knows tensors by name, no backend's arithmetic.
use synapse_kernels::{Mixer, Monarch};

use super::{Gate, Organelle, Organelles, Role, builder::Builder};
use crate::{Error, Result, backends::Backend};

/// Below this a learned temperature counts as this much.
const LEAST_TEMPERATURE: f32 = 0.01;

/// What each organelle of a layer is multiplied with: one number per channel.
pub type Gains = Vec<(Organelle, Vec<f32>)>;

/// Of one organelle, if the layer has it.
pub fn gain_of(gains: &Gains, wanted: Organelle) -> Option<&[f32]> {
    gains.iter().find(|(organelle, _)| *organelle == wanted).map(|(_, gain)| gain.as_slice())
}

impl<B: Backend> Builder<'_, B> {
    /// The gate of layer `index`, times the scale of its branch.
    pub fn gains(&self, organelles: &Organelles, index: usize) -> Result<Gains> {
        let present = &organelles.layers[index];
        let scale = self.skip_scale(organelles, index, 1)?;
        let mut gains = self.gate(organelles, index)?;
        gains.iter_mut().flatten().for_each(|gain| *gain *= scale);
        Ok(present.iter().copied().zip(gains).collect())
    }

    /// What a branch is multiplied with before it is added to the residual stream.
    pub fn skip_scale(&self, organelles: &Organelles, index: usize, branch: usize) -> Result<f32> {
        match organelles.skip_scales {
            true => self.scalar(&format!("blocks.{index}.skip{branch}.scale")),
            false => Ok(1.0),
        }
    }

    fn gate(&self, organelles: &Organelles, index: usize) -> Result<Vec<Vec<f32>>> {
        let (count, hidden) = (organelles.layers[index].len(), self.config.hidden_size);
        let gate = |part: &str| format!("blocks.{index}.seq_mixer.gate.{part}");
        match organelles.gate {
            Gate::Sigmoid => {
                let weight = self.values(&gate("weight"), &[hidden], Role::Plain)?;
                Ok(vec![weight.iter().map(|w| 1.0 / (1.0 + (-w).exp())).collect(); count])
            }
            Gate::Softmax { temperature } => {
                let logits = self.values(&gate("logits"), &[count, hidden], Role::Plain)?;
                let temperature = if temperature { self.scalar(&gate("temperature"))? } else { 1.0 };
                Ok(softmax(&logits, hidden, temperature.max(LEAST_TEMPERATURE)))
            }
        }
    }

    /// The convolutions as one kernel over lags, and the Monarch matrices.
    pub fn mixer(&self, organelles: &Organelles, index: usize, gains: &Gains) -> Result<Mixer> {
        let block = format!("blocks.{index}");
        let hidden = self.config.hidden_size;
        let part = |name: &str| format!("{block}.seq_mixer.organelle_modules.{name}");
        let mut kernel = Vec::new();
        for (organelle, name, taps) in [
            (Organelle::LongConv, "long_conv.kernel", self.config.context_length),
            (Organelle::CausalConv, "causal_conv.weight", organelles.conv_taps),
        ] {
            if let Some(gain) = gain_of(gains, organelle) {
                let values = self.values(&part(name), &[hidden, 1, taps], Role::Plain)?;
                add_taps(&mut kernel, &values, gain);
            }
        }
        let monarch = match gain_of(gains, Organelle::Monarch) {
            None => None,
            Some(gain) => {
                let side = |head: usize, side: &str| {
                    self.values(&part(&format!("monarch.{head}.{side}")), &[16; 3], Role::Plain)
                };
                let heads = (0..organelles.monarch_heads).map(|head| Ok([side(head, "L1")?, side(head, "L2")?]));
                let (layout, heads) = (organelles.monarch_layout, heads.collect::<Result<_>>()?);
                Some(Monarch { layout, heads, gain: gain.to_vec() })
            }
        };
        Mixer::new(hidden, &kernel, monarch).map_err(|reason| Error::Model(format!("{block}.seq_mixer: {reason}")))
    }

    fn scalar(&self, name: &str) -> Result<f32> {
        Ok(self.values(name, &[1], Role::Plain)?[0])
    }
}

/// Softmax over the rows of `(organelles, channels)`, channel by channel, at a temperature.
fn softmax(logits: &[f32], channels: usize, temperature: f32) -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> =
        logits.chunks(channels).map(|row| row.iter().map(|l| l / temperature).collect()).collect();
    for channel in 0..channels {
        let most = rows.iter().map(|row| row[channel]).fold(f32::MIN, f32::max);
        let total: f32 = rows.iter().map(|row| (row[channel] - most).exp()).sum();
        rows.iter_mut().for_each(|row| row[channel] = (row[channel] - most).exp() / total);
    }
    rows
}

/// Adds `(channels, taps)`, the newest input's tap last, to a kernel of `(lags, channels)`, the newest first.
fn add_taps(kernel: &mut Vec<f32>, values: &[f32], gain: &[f32]) {
    let (channels, taps) = (gain.len(), values.len() / gain.len());
    if kernel.len() < values.len() {
        kernel.resize(values.len(), 0.0);
    }
    for (channel, (values, gain)) in values.chunks(taps).zip(gain).enumerate() {
        for (lag, value) in values.iter().rev().enumerate() {
            kernel[lag * channels + channel] += gain * value;
        }
    }
}

//! Scales beside the weights of a checkpoint in 8 bits: without them the weights are other numbers. Knows no way to apply them.
//! Names: those of DeepSeek (`weight_scale_inv`), compressed-tensors and ModelOpt (`weight_scale`, `input_scale`), ComfyUI
//! (`scale_weight`, `scaled_fp8`).
use synapse_kernels::DType;

use crate::{Error, Result, files::TensorSource};

/// What to do about a quantized model.
pub(super) const BEFORE: &str = "use the model as it was before it was quantized, or a GGUF of it";

/// Refuses scales by name where there are F8_E4M3 weights.
pub(super) fn refuse(tensors: &dyn TensorSource) -> Result<()> {
    let names = tensors.names();
    let is_f8 = |name: &&str| tensors.tensor(name).is_some_and(|tensor| tensor.dtype == DType::F8_E4M3);
    match names.iter().find(|name| is_scale(name, tensors)) {
        Some(name) if names.iter().any(is_f8) => Err(Error::Model(format!(
            "tensor `{name}`: expected F8_E4M3 weights that need no scales, found scales of some; {BEFORE}"
        ))),
        _ => Ok(()),
    }
}

/// A bare `scale` may be a module's own, unless a weight stands beside it.
fn is_scale(name: &str, tensors: &dyn TensorSource) -> bool {
    let (module, last) = name.rsplit_once('.').unwrap_or(("", name));
    last.contains("scale") && (last != "scale" || tensors.tensor(&format!("{module}.weight")).is_some())
}

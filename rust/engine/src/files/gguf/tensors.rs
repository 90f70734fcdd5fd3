//! The tensors of a GGUF file under their Hugging Face names. Knows no configuration.
use std::collections::BTreeMap;

use super::{GgufFile, names};
use crate::{
    Error, Result,
    files::{TensorSource, TensorView},
};

pub(super) struct GgufTensors {
    file: GgufFile,
    /// Hugging Face name to place in the tensor table.
    names: BTreeMap<String, usize>,
}

impl GgufTensors {
    /// A tensor that the family does not have would change the result if it were left out, so it is refused.
    pub fn new(file: GgufFile, layers: usize) -> Result<GgufTensors> {
        let mut mapped = BTreeMap::new();
        for (index, tensor) in
            file.tensors().iter().enumerate().filter(|(_, tensor)| tensor.name != names::ROPE_FACTORS)
        {
            let name = names::hugging_face(&tensor.name, layers).ok_or_else(|| {
                let name = &tensor.name;
                Error::Model(format!("tensor `{name}` is not part of a Llama or Qwen2 model with {layers} layers"))
            })?;
            mapped.insert(name, index);
        }
        Ok(GgufTensors { file, names: mapped })
    }
}

impl TensorSource for GgufTensors {
    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.names.get(name).map(|&index| self.file.view(index))
    }

    fn names(&self) -> Vec<&str> {
        self.names.keys().map(String::as_str).collect()
    }
}

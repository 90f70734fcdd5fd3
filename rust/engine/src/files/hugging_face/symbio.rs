//! `config.json` of the Symbiogenesis family, as `synapse convert` and `synapse export` write it (docs/organelles.md has the keys).
use serde_json::Value;
use synapse_kernels::MonarchLayout;

use crate::{
    Result,
    architectures::{Family, Gate, ModelConfig, Organelle, Organelles, RopeScaling},
    files::{
        json::{Object, describe},
        limits,
    },
};

/// Reads and checks a configuration.
pub fn read(object: &Object) -> Result<ModelConfig> {
    let size = |key| object.required(key, object.integer(key)?);
    let layers = size("num_hidden_layers")?;
    let mut config = ModelConfig {
        family: Family::Symbio,
        vocab_size: size("vocab_size")?,
        hidden_size: size("hidden_size")?,
        intermediate_size: size("intermediate_size")?,
        layers,
        heads: 0,
        kv_heads: 0,
        head_dim: 0,
        norm_eps: object.float("rms_norm_eps")?.unwrap_or(1e-6),
        rope_theta: object.float("rope_theta")?.unwrap_or(10_000.0),
        rope_scaling: RopeScaling::None,
        context_length: size("max_position_embeddings")?,
        tied_head: object.flag("tie_word_embeddings")?.unwrap_or(true),
        qkv_bias: false,
        o_bias: false,
        organelles: None,
    };
    if !config.tied_head {
        return Err(object.unsupported("tie_word_embeddings", false));
    }
    config.organelles = Some(organelles(object, layers)?);
    if config.has_attention() {
        config.heads = size("num_attention_heads")?;
        (config.kv_heads, config.head_dim) = (config.heads, size("head_dim")?);
    }
    limits::check(object.path, &config)?;
    config.check_organelles().map_err(|reason| object.fault(reason))?;
    Ok(config)
}

fn organelles(object: &Object, layers: usize) -> Result<Organelles> {
    Ok(Organelles {
        layers: per_layer(object, layers)?,
        gate: gate(object)?,
        conv_taps: object.integer("conv_kernel_size")?.unwrap_or(4),
        monarch_heads: object.integer("monarch_heads")?.unwrap_or(1),
        monarch_layout: match object.text("monarch_layout")?.unwrap_or("torch") {
            "torch" => MonarchLayout::Torch,
            "julia" => MonarchLayout::Julia,
            other => return Err(object.unsupported("monarch_layout", format!("`{other}`"))),
        },
        skip_scales: object.flag("skip_scales")?.unwrap_or(false),
        donor_size: object.integer("donor_hidden_size")?,
    })
}

fn gate(object: &Object) -> Result<Gate> {
    match object.text("gate")?.unwrap_or("softmax") {
        "softmax" => Ok(Gate::Softmax { temperature: object.flag("gate_temperature")?.unwrap_or(false) }),
        "sigmoid" => Ok(Gate::Sigmoid),
        other => Err(object.unsupported("gate", format!("`{other}`"))),
    }
}

/// One list for all layers, or a list for each.
fn per_layer(object: &Object, layers: usize) -> Result<Vec<Vec<Organelle>>> {
    let value = object.required("organelles", object.get("organelles"))?;
    let wrong = || {
        object
            .fault(format!("`organelles`: expected a list of names, or one for each layer, found {}", describe(value)))
    };
    let list = value.as_array().ok_or_else(wrong)?;
    match list.iter().all(Value::is_array) && !list.is_empty() {
        true => list.iter().map(|layer| names(object, layer.as_array().ok_or_else(wrong)?)).collect(),
        // Too many layers are refused with the other sizes; until then, a list for each must not fill the memory.
        false => Ok(vec![names(object, list)?; layers.min(limits::MOST_LAYERS)]),
    }
}

fn names(object: &Object, list: &[Value]) -> Result<Vec<Organelle>> {
    let named = |value: &Value| Organelle::ALL.into_iter().find(|organelle| value.as_str() == Some(organelle.name()));
    list.iter()
        .map(|value| {
            let known = Organelle::ALL.map(Organelle::name).join(", ");
            named(value).ok_or_else(|| {
                object.fault(format!("`organelles`: expected some of {known}, found {}", describe(value)))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::files::hugging_face::config_from_json;

    fn released() -> Value {
        json!({
            "model_type": "symbio", "vocab_size": 2000, "hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 8,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
            "organelles": ["causal_conv", "monarch", "long_conv"], "conv_kernel_size": 4, "monarch_heads": 1,
            "monarch_layout": "julia", "gate": "softmax", "gate_temperature": false, "skip_scales": false,
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut config = released();
        config[key] = value;
        config
    }

    fn parse(config: &Value) -> std::result::Result<ModelConfig, String> {
        config_from_json(Path::new("config.json"), config.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_released_symbio_slm() {
        use Organelle::{CausalConv, LongConv, Monarch};
        let config = parse(&released()).unwrap();
        assert_eq!((config.family, config.layers, config.heads, config.head_dim), (Family::Symbio, 8, 0, 0));
        let wanted = Organelles {
            layers: vec![vec![CausalConv, Monarch, LongConv]; 8],
            gate: Gate::Softmax { temperature: false },
            conv_taps: 4,
            monarch_heads: 1,
            monarch_layout: MonarchLayout::Julia,
            skip_scales: false,
            donor_size: None,
        };
        assert_eq!(config.organelles, Some(wanted));
    }

    #[test]
    fn a_list_for_each_layer_may_have_attention() {
        let mut config = with("organelles", json!([["long_conv", "attention"], ["causal_conv"]]));
        config["num_hidden_layers"] = json!(2);
        assert!(parse(&config).unwrap_err().contains("`num_attention_heads` is missing"));
        (config["num_attention_heads"], config["head_dim"]) = (json!(5), json!(64));
        let config = parse(&config).unwrap();
        assert_eq!((config.heads, config.kv_heads, config.head_dim), (5, 5, 64));
        let layers = config.organelles.unwrap().layers;
        assert_eq!(layers, [vec![Organelle::LongConv, Organelle::Attention], vec![Organelle::CausalConv]]);
    }

    #[test]
    fn what_cannot_run_is_refused_by_name() {
        for (key, value, part) in [
            ("organelles", json!(["conv"]), "`organelles`: expected some of causal_conv"),
            ("organelles", json!("monarch"), "expected a list of names"),
            ("organelles", json!([]), "at least one a layer"),
            ("organelles", json!(["monarch", "monarch"]), "expected different ones"),
            ("organelles", json!([["monarch"]]), "expected a list for each of 8 layers, found 1"),
            ("num_hidden_layers", json!(1u64 << 60), "number of layers: expected 1 to 4096"),
            ("max_position_embeddings", json!(512), "max_position_embeddings: expected 256 with monarch, found 512"),
            ("hidden_size", json!(200), "hidden_size: expected a multiple of 16, found 200"),
            ("monarch_heads", json!(0), "monarch_heads"),
            ("monarch_heads", json!(32), "groups of a multiple of 16, found 32"),
            ("conv_kernel_size", json!(257), "conv_kernel_size: expected 1 to 256, found 257"),
            ("monarch_layout", json!("fortran"), "`monarch_layout` is `fortran`"),
            ("gate", json!("hard"), "`gate` is `hard`"),
            ("tie_word_embeddings", json!(false), "`tie_word_embeddings` is false"),
            ("donor_hidden_size", json!(0), "donor_hidden_size"),
            ("skip_scales", json!("yes"), "`skip_scales`: expected true or false"),
        ] {
            let error = parse(&with(key, value)).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

//! GGUF tensor names to Hugging Face's. Knows no tensor's content.

/// Factors that divide the rotary frequencies; part of the configuration, not a weight.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The Hugging Face name of a tensor of the Llama and Qwen2 families, or `None` if they have no such tensor.
pub(in crate::files) fn hugging_face(name: &str, layers: usize) -> Option<String> {
    match name {
        "token_embd.weight" => Some("model.embed_tokens.weight".into()),
        "output_norm.weight" => Some("model.norm.weight".into()),
        "output.weight" => Some("lm_head.weight".into()),
        _ => {
            let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
            let (part, kind) = rest.rsplit_once('.')?;
            let index: usize = layer.parse().ok()?;
            // Only the canonical spelling: `blk.01` would be a second name for layer 1.
            let canonical = index < layers && index.to_string() == layer;
            let part = in_layer(part, kind)?;
            canonical.then(|| format!("model.layers.{layer}.{part}.{kind}"))
        }
    }
}

fn in_layer(part: &str, kind: &str) -> Option<&'static str> {
    Some(match (part, kind) {
        ("attn_norm", "weight") => "input_layernorm",
        ("ffn_norm", "weight") => "post_attention_layernorm",
        ("attn_q", "weight" | "bias") => "self_attn.q_proj",
        ("attn_k", "weight" | "bias") => "self_attn.k_proj",
        ("attn_v", "weight" | "bias") => "self_attn.v_proj",
        ("attn_output", "weight" | "bias") => "self_attn.o_proj",
        ("ffn_gate", "weight") => "mlp.gate_proj",
        ("ffn_up", "weight") => "mlp.up_proj",
        ("ffn_down", "weight") => "mlp.down_proj",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_table_and_nothing_else_has_one() {
        let name = |gguf| hugging_face(gguf, 12);
        assert_eq!(name("blk.0.attn_q.weight").unwrap(), "model.layers.0.self_attn.q_proj.weight");
        assert_eq!(name("blk.11.attn_v.bias").unwrap(), "model.layers.11.self_attn.v_proj.bias");
        assert_eq!(name("blk.3.ffn_down.weight").unwrap(), "model.layers.3.mlp.down_proj.weight");
        assert_eq!(name("blk.3.ffn_norm.weight").unwrap(), "model.layers.3.post_attention_layernorm.weight");
        assert_eq!(name("output.weight").unwrap(), "lm_head.weight");
        for refused in [
            "blk.12.attn_q.weight",
            "blk.01.attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk.0.ffn_up.bias",
            "blk.0.attn_norm.bias",
            "blk.0.ffn_gate_inp.weight",
            "blk.0.weight",
            "output.bias",
            "",
        ] {
            assert_eq!(name(refused), None, "{refused}");
        }
    }
}

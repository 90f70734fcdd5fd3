//! The work that a pass books, against a count by hand.
use synapse_kernels::Format;

use super::{ModelConfig, testing::*};
use crate::{
    backends::KvType,
    batch::{Batch, Want},
    clock::{Clock, Operation, Work},
};

/// A pass of 20 tokens after 3, with logits for the last, and one of a single token of another sequence, as one batch.
fn account_of(config: &ModelConfig) -> impl Fn(Operation) -> Work + use<> {
    let mut model = model(config, Format::F32, KvType::F16, 2);
    let (long, short) = (text(1, 23, config.vocab_size), text(2, 1, config.vocab_size));
    run(&mut *model, segment(&long, 0..3, &[4, 9], Want::Nothing));
    let before = model.clock().map(Clock::account).unwrap();
    let segments =
        vec![segment(&long, 3..23, &[4, 9], Want::LastLogits), segment(&short, 0..1, &[7], Want::LastLogits)];
    model.forward(&Batch { segments }).unwrap();
    let after = model.clock().map(Clock::account).unwrap();
    move |operation| {
        let (before, after) = (before[operation as usize].work, after[operation as usize].work);
        Work { multiply_adds: after.multiply_adds - before.multiply_adds, bytes: after.bytes - before.bytes }
    }
}

/// What products of 21 rows with float matrices of these shapes need, in two layers. Rows are stored sixteen at a time.
fn layers(shapes: &[(u64, u64)]) -> Work {
    let multiply_adds = shapes.iter().map(|(rows, cols)| 2 * 21 * rows * cols).sum();
    Work { multiply_adds, bytes: shapes.iter().map(|(rows, cols)| 2 * 4 * rows.next_multiple_of(16) * cols).sum() }
}

#[test]
fn work_is_what_a_count_by_hand_gives() {
    for tied_head in [false, true] {
        let spent = account_of(&ModelConfig { tied_head, ..config() });
        // Hidden 52, 3 heads of 10, one KV head, 75 inside the feed-forward network, vocabulary 101.
        assert_eq!(spent(Operation::Qkv), layers(&[(30, 52), (10, 52), (10, 52)]));
        assert_eq!(spent(Operation::Output), layers(&[(52, 30)]));
        assert_eq!(spent(Operation::GateUp), layers(&[(75, 52), (75, 52)]));
        assert_eq!(spent(Operation::Down), layers(&[(52, 75)]));
        let head = Work { multiply_adds: 2 * 101 * 52, bytes: 4 * 112 * 52 };
        assert_eq!(spent(Operation::Head), head, "tied {tied_head}: the table of embeddings is read only as the head");
        // 23 + 1 positions in two layers: keys of 10 halves, and values, which are padded to 16.
        assert_eq!(spent(Operation::Attention), Work { multiply_adds: 0, bytes: 24 * 2 * (10 + 16) * 2 });
        assert_eq!(spent(Operation::Norm), Work::default());
    }
}

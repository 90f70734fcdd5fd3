//! Drafts before a step, takes what came true after it. Knows neither how drafts are made nor how many are worth it.
use std::collections::HashMap;

use super::{
    Engine,
    job::{Job, expect_values},
    panics::contained,
};
use crate::{
    Result,
    batch::{Segment, SegmentOutput},
    schedule::{Drafts, RequestId, Row, SequenceKey},
    speculate::{DraftModel, Foresight, Order, Source, Speculation, share},
};

type Jobs = HashMap<RequestId, Job>;

impl Engine {
    /// What the next step should check, besides what it must run.
    pub(super) fn draft(&mut self) -> Drafts {
        if self.options.speculation == Speculation::Off {
            return Drafts::default();
        }
        let Self { scheduler, jobs, draft_model, .. } = self;
        let price = draft_model.as_ref().map(DraftModel::price);
        let (mut orders, mut wishes) = (Vec::new(), Vec::new());
        for (key, tokens) in scheduler.decoding() {
            let wish = foresight(jobs, key).map(|(foresight, room)| foresight.wish(tokens, room, price));
            wishes.push(wish.unwrap_or_default());
            orders.push(Order { key, tokens, count: 0 });
        }
        let counts = share(&wishes, scheduler.prompt_rows());
        orders.iter_mut().zip(counts).for_each(|(order, count)| order.count = count);
        let wanted = orders.into_iter().zip(&wishes).filter(|(order, _)| order.count > 0);
        let (asked, looked_up): (Vec<_>, Vec<_>) = wanted.partition(|(_, wish)| wish.source == Source::Model);
        let mut drafts = Drafts::new();
        for (Order { key, tokens, count }, _) in looked_up {
            drafts.extend(foresight(jobs, key).map(|(foresight, _)| (key, foresight.draft(tokens, count))));
        }
        let asked: Vec<Order<'_>> = asked.into_iter().map(|(order, _)| order).collect();
        match ask(draft_model, jobs, &asked) {
            Ok(made) => drafts.extend(made),
            // The requests do not depend on it.
            Err(_) => {
                *draft_model = None;
                self.stats.draft_failures += 1;
            }
        }
        drafts
    }

    /// Takes what the model gave for a segment: for one that decodes a token, and another for each that was drafted and came
    /// true.
    pub(super) fn publish(&mut self, row: &Row, segment: &Segment, output: &SegmentOutput) {
        if row.drafted == 0 {
            self.publish_row(row, &output.logits, &output.hidden);
            return;
        }
        let (id, vocab_size) = (row.key.request, self.model.vocab_size());
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Err(error) = expect_values("logits", output.logits.len(), (1 + row.drafted) * vocab_size) {
            return self.fail(id, error);
        }
        job.note_drafted(row.drafted, &mut self.stats);
        for (place, logits) in output.logits.chunks_exact(vocab_size).enumerate() {
            let token = self.publish_row(&row.after(place), logits, &[]);
            if token.is_none() || token.as_ref() != segment.tokens.get(row.count + place) {
                break;
            }
            if let Some(job) = self.jobs.get_mut(&id) {
                job.note_accepted(&mut self.stats);
            }
        }
    }
}

fn foresight(jobs: &mut Jobs, key: SequenceKey) -> Option<(&mut Foresight, usize)> {
    jobs.get_mut(&key.request)?.foresight(key.index)
}

/// Lets the draft model draft, and the sequences remember what, so that they can judge it.
fn ask(draft_model: &mut Option<DraftModel>, jobs: &mut Jobs, orders: &[Order<'_>]) -> Result<Drafts> {
    let Some(model) = draft_model.as_mut().filter(|_| !orders.is_empty()) else { return Ok(Drafts::new()) };
    model.retain(|key| foresight(jobs, key).is_some());
    let drafts = contained(|| model.draft(orders))?;
    for Order { key, tokens, .. } in orders {
        if let (Some(draft), Some((foresight, _))) = (drafts.get(key), foresight(jobs, *key)) {
            foresight.note_drafted(tokens, draft);
        }
    }
    Ok(drafts)
}

//! Which rows of a pass are wanted, and by which segment. Checks a batch before any memory is touched.
use crate::{
    Error, Result,
    backends::Row,
    batch::{Batch, Model, PAGE_TOKENS, Segment, Want},
};

/// Rows whose logits are wanted, in order.
pub fn wanted_logits(batch: &Batch) -> Vec<Row> {
    wanted(batch, |want, rows| match want {
        Want::LastLogits => 1,
        Want::AllLogits => rows,
        Want::Nothing | Want::Hidden => 0,
    })
}

/// Rows whose final hidden state is wanted, in order.
pub fn wanted_hidden(batch: &Batch) -> Vec<Row> {
    wanted(batch, |want, rows| if want == Want::Hidden { rows } else { 0 })
}

/// The last `count(want, rows)` rows of each segment.
fn wanted(batch: &Batch, count: impl Fn(Want, usize) -> usize) -> Vec<Row> {
    let mut wanted = Vec::new();
    let mut end = 0;
    for (segment, Segment { tokens, want, .. }) in batch.segments.iter().enumerate() {
        end += tokens.len();
        wanted.extend((end - count(*want, tokens.len())..end).map(|row| Row { row, segment }));
    }
    wanted
}

/// Refuses a batch that this model cannot run.
pub fn check(batch: &Batch, model: &impl Model) -> Result<()> {
    for (index, segment) in batch.segments.iter().enumerate() {
        if let Some(fault) = fault(segment, model) {
            return Err(Error::Internal(format!("segment {index}: {fault}")));
        }
    }
    Ok(())
}

fn fault(segment: &Segment, model: &impl Model) -> Option<String> {
    let end = segment.start.saturating_add(segment.tokens.len());
    if segment.tokens.is_empty() {
        return Some("no tokens".into());
    }
    if end > model.context_length() {
        return Some(format!("position {end} is beyond the context of {} tokens", model.context_length()));
    }
    if end > segment.pages.len() * PAGE_TOKENS {
        return Some(format!("{} pages of {PAGE_TOKENS} tokens do not cover {end} positions", segment.pages.len()));
    }
    if let Some(page) = segment.pages.iter().find(|&&page| page as usize >= model.page_count()) {
        return Some(format!("page {page} is outside the {} pages", model.page_count()));
    }
    let token = segment.tokens.iter().find(|&&token| token as usize >= model.vocab_size())?;
    Some(format!("token {token} is outside the vocabulary of {}", model.vocab_size()))
}

//! Continuous batching: who joins, what each step runs, who makes room. Sees tokens only as keys of known prefixes.
use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{Drafts, Lines, Phase, Plan, Purpose, RequestId, Row, Scope, Sequence, SequenceKey, Started, budget};
use crate::{
    adapter::{self, Blend},
    batch::{PAGE_TOKENS, TokenId},
    cache::{Lineage, Namespace, Pages},
};

/// Limits of a step.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleOptions {
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Prompt tokens per step.
    pub prefill_chunk: usize,
    /// Tokens per step whose logits are all wanted: a row of logits is large.
    pub score_chunk: usize,
    /// Whether requests may share prefixes; the choices of one request always do.
    pub prefix_cache: bool,
    /// For a model whose sequences may outgrow what it sees.
    pub window: Option<Window>,
}

/// What becomes of a sequence that outgrows what the model sees at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The most tokens that the model sees.
    pub length: usize,
    /// How many of the last tokens it sees once there are more; they are computed anew.
    pub keep: usize,
}

/// Work as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The prompt; never empty.
    pub tokens: Vec<TokenId>,
    /// Whose line to join.
    pub client: Arc<str>,
    /// What for.
    pub purpose: Purpose,
    /// Sequences with this prompt.
    pub choices: usize,
    /// When to give up waiting.
    pub expires: Option<Instant>,
    /// What to compute with beside the model's own weights.
    pub blend: Option<Blend>,
}

/// Who runs and who waits.
#[derive(Debug)]
pub struct Scheduler {
    options: ScheduleOptions,
    pages: Pages,
    lines: Lines,
    /// The oldest first.
    running: BTreeMap<SequenceKey, Sequence>,
    preemptions: u64,
}

impl Scheduler {
    /// Nobody runs and nobody waits.
    pub fn new(options: ScheduleOptions, page_count: usize) -> Self {
        let (lines, running) = (Lines::default(), BTreeMap::new());
        Self { options, pages: Pages::new(page_count), lines, running, preemptions: 0 }
    }

    /// Joins the end of the client's line. Prompt and answer of one choice must fit in all pages together.
    pub fn submit(&mut self, request: RequestId, submission: Submission) {
        let Submission { tokens, client, purpose, choices, expires, blend } = submission;
        self.lines.join(Sequence {
            key: SequenceKey { request, index: 0 },
            client,
            purpose,
            prompt: tokens.len(),
            tokens,
            dropped: 0,
            computed: 0,
            pages: Vec::new(),
            lineage: self.lineage(request, blend.as_deref()),
            blend,
            followers: choices.saturating_sub(1),
            begun: false,
            expires,
        });
    }

    /// Takes out the requests that waited too long for their first turn.
    pub fn expire(&mut self, now: Instant) -> Vec<RequestId> {
        let late = |sequence: &Sequence| !sequence.begun && sequence.expires.is_some_and(|at| at <= now);
        self.lines.take_out(late).into_iter().map(|sequence| sequence.key.request).collect()
    }

    /// Sequences that decode, with their tokens.
    pub fn decoding(&self) -> impl Iterator<Item = (SequenceKey, &[TokenId])> {
        let decodes = |sequence: &&Sequence| sequence.phase() == Phase::Decode;
        self.running.values().filter(decodes).map(|sequence| (sequence.key, sequence.tokens.as_slice()))
    }

    /// Prompt tokens that the next step will run, if nobody joins.
    pub fn prompt_rows(&self) -> usize {
        let left = self.running.values().map(|sequence| match sequence.phase() {
            Phase::Prefill { left } => left,
            Phase::Decode => 0,
        });
        left.sum::<usize>().min(self.options.prefill_chunk)
    }

    /// Decides the next step: a token of each sequence that decodes and what was drafted for it, then prompt tokens up to the
    /// budget.
    pub fn plan(&mut self, scope: Scope, drafts: &Drafts) -> Plan {
        let mut plan = Plan::default();
        let keys: Vec<SequenceKey> = match scope {
            Scope::Everyone => {
                plan.started = self.admit();
                self.running.keys().copied().collect()
            }
            Scope::Only(key) => vec![key],
        };
        self.plan_decode(&keys, drafts, &mut plan);
        self.plan_prefill(&keys, &mut plan);
        plan
    }

    /// Notes that `row` was computed, without what was drafted. A prompt that is complete is made known, and the other choices
    /// may follow.
    pub fn advance(&mut self, row: &Row) {
        let Some(sequence) = self.running.get_mut(&row.key) else { return };
        sequence.computed = row.start + row.count;
        if row.completes && sequence.dropped + sequence.computed == sequence.prompt {
            remember(&mut self.pages, sequence);
            let followers = 1..=std::mem::take(&mut sequence.followers);
            let followers: Vec<Sequence> = followers.map(|index| sequence.follower(index)).collect();
            followers.into_iter().rev().for_each(|follower| self.lines.return_first(follower));
        }
    }

    /// Appends a generated token.
    pub fn push(&mut self, key: SequenceKey, token: TokenId) {
        let Some(sequence) = self.running.get_mut(&key) else { return };
        sequence.tokens.push(token);
        match self.options.window {
            Some(window) if sequence.seen().len() > window.length => self.slide(key, window),
            _ => {}
        }
    }

    /// The model goes on with the last tokens alone. They have other positions now, so nothing computed holds any more; the
    /// sequence takes pages again when the next step is planned, before anyone who waits.
    fn slide(&mut self, key: SequenceKey, window: Window) {
        let Some(mut sequence) = self.running.remove(&key) else { return };
        sequence.dropped = sequence.tokens.len() - window.keep;
        self.empty(&mut sequence);
        self.lines.return_first(sequence);
    }

    /// Ends one sequence; what it computed becomes known, for the next turn of a chat.
    pub fn finish(&mut self, key: SequenceKey) {
        if let Some(sequence) = self.running.remove(&key) {
            self.give_back(sequence);
        }
    }

    /// Ends whatever is left of a request.
    pub fn close(&mut self, request: RequestId) {
        self.lines.take_out(|sequence| sequence.key.request == request);
        let first = SequenceKey { request, index: 0 };
        let last = SequenceKey { request, index: usize::MAX };
        let keys: Vec<SequenceKey> = self.running.range(first..=last).map(|(&key, _)| key).collect();
        keys.into_iter().for_each(|key| self.finish(key));
        if !self.options.prefix_cache {
            self.pages.forget(private(request));
        }
    }

    /// Requests that wait for their first turn.
    pub fn waiting(&self) -> usize {
        self.lines.iter().filter(|sequence| !sequence.begun).count()
    }

    /// Sequences that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How often a sequence had to make room.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// The pages.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Lets those who wait join, in turn, while there is room.
    fn admit(&mut self) -> Vec<Started> {
        let mut started = Vec::new();
        while self.running.len() < self.options.max_sequences {
            let Some(mut sequence) = self.lines.next() else { break };
            if !self.seat(&mut sequence) {
                self.lines.return_first(sequence);
                break;
            }
            if !std::mem::replace(&mut sequence.begun, true) {
                started.push(Started { request: sequence.key.request, cached_tokens: sequence.computed });
            }
            self.running.insert(sequence.key, sequence);
        }
        started
    }

    /// Gives a sequence pages for all its tokens, if a page for each other to grow is left.
    fn seat(&mut self, sequence: &mut Sequence) -> bool {
        // The last token is computed in any case: its logits are wanted.
        let known = match sequence.purpose {
            Purpose::Generate => &sequence.seen()[..sequence.seen().len() - 1],
            Purpose::Embed | Purpose::Score => &[],
        };
        let mut pages = self.pages.reuse(sequence.lineage, known);
        let missing = sequence.seen().len().div_ceil(PAGE_TOKENS) - pages.len();
        if self.pages.obtainable() < missing + self.running.len() {
            self.pages.release(&pages);
            return false;
        }
        sequence.computed = pages.len() * PAGE_TOKENS;
        pages.extend((0..missing).map_while(|_| self.pages.take()));
        sequence.pages = pages;
        true
    }

    /// The oldest first: who makes room is younger. Drafts come when everybody has room, since nobody makes room for a draft.
    fn plan_decode(&mut self, keys: &[SequenceKey], drafts: &Drafts, plan: &mut Plan) {
        let decodes = |sequence: &Sequence| sequence.phase() == Phase::Decode;
        let mut decoding = Vec::new();
        for &key in keys {
            if self.running.get(&key).is_some_and(decodes) && self.make_room(key) {
                decoding.push(key);
            }
        }
        for key in decoding {
            let draft = drafts.get(&key).map_or(&[][..], Vec::as_slice);
            let wanted = 1 + draft.len().min(self.unseen(key));
            let room = self.room_for(key, wanted).min(wanted);
            self.plan_row(key, 1, &draft[..room.saturating_sub(1)], plan);
        }
    }

    /// Tokens that a sequence may still grow by before it outgrows the window.
    fn unseen(&self, key: SequenceKey) -> usize {
        let seen = self.running.get(&key).map_or(0, |sequence| sequence.seen().len());
        self.options.window.map_or(usize::MAX, |window| window.length.saturating_sub(seen))
    }

    fn plan_prefill(&mut self, keys: &[SequenceKey], plan: &mut Plan) {
        let mut score_left = self.options.score_chunk;
        let mut waiting = Vec::new();
        for sequence in keys.iter().filter_map(|key| self.running.get(key)) {
            let Phase::Prefill { mut left } = sequence.phase() else { continue };
            if sequence.purpose == Purpose::Score {
                left = left.min(score_left);
                score_left -= left;
            }
            waiting.push((sequence.key, left));
        }
        let left: Vec<usize> = waiting.iter().map(|(_, left)| *left).collect();
        let granted = budget::share(self.options.prefill_chunk, &left);
        for ((key, _), count) in waiting.into_iter().zip(granted).filter(|(_, count)| *count > 0) {
            self.plan_row(key, count, &[], plan);
        }
    }

    fn plan_row(&self, key: SequenceKey, count: usize, draft: &[TokenId], plan: &mut Plan) {
        let Some(sequence) = self.running.get(&key) else { return };
        let completes = sequence.computed + count == sequence.seen().len();
        plan.batch.segments.push(sequence.segment(count, draft));
        plan.rows.push(Row { key, start: sequence.computed, count, completes, drafted: draft.len() });
    }

    /// Room in the pages of a sequence: for `wanted` tokens, or less if that would leave too few pages to the others.
    fn room_for(&mut self, key: SequenceKey, wanted: usize) -> usize {
        let reserve = self.running.len();
        let Some(sequence) = self.running.get_mut(&key) else { return 0 };
        while sequence.room() < wanted && self.pages.obtainable() > reserve {
            let Some(page) = self.pages.take() else { break };
            sequence.pages.push(page);
        }
        sequence.room()
    }

    /// Sees to it that a sequence has a page for its next token; the youngest go back to wait if need be. False if it was
    /// itself the youngest.
    fn make_room(&mut self, key: SequenceKey) -> bool {
        while let Some(sequence) = self.running.get_mut(&key) {
            if sequence.room() > 0 {
                return true;
            }
            match self.pages.take() {
                Some(page) => sequence.pages.push(page),
                None => self.preempt_youngest(),
            }
        }
        false
    }

    fn preempt_youngest(&mut self) {
        let Some((_, mut sequence)) = self.running.pop_last() else { return };
        self.preemptions += 1;
        remember(&mut self.pages, &mut sequence);
        self.empty(&mut sequence);
        self.lines.return_first(sequence);
    }

    /// Nothing of the sequence is computed any more, and it holds no pages.
    fn empty(&mut self, sequence: &mut Sequence) {
        self.pages.release(&sequence.pages);
        sequence.pages.clear();
        sequence.computed = 0;
    }

    fn give_back(&mut self, mut sequence: Sequence) {
        remember(&mut self.pages, &mut sequence);
        self.pages.release(&sequence.pages);
    }

    /// Who computes with the same blend shares all pages; everybody shares those before it begins.
    fn lineage(&self, request: RequestId, blend: Option<&[adapter::Part]>) -> Lineage {
        match blend {
            Some(blend) if self.options.prefix_cache => {
                Lineage { shared: SHARED, own: adapter::digest(blend) & !PRIVATE, begin: adapter::begin(blend) }
            }
            None if self.options.prefix_cache => SHARED.into(),
            _ => private(request).into(),
        }
    }
}

/// Everybody's.
const SHARED: Namespace = 0;
/// Marks namespaces that one request has for itself.
const PRIVATE: Namespace = 1 << 63;

fn private(request: RequestId) -> Namespace {
    PRIVATE | request
}

/// Makes the full pages of a sequence known. Prompts that are embedded or scored seldom come twice.
fn remember(pages: &mut Pages, sequence: &mut Sequence) {
    if sequence.purpose == Purpose::Generate {
        let computed = &sequence.tokens[sequence.dropped..][..sequence.computed];
        pages.remember(sequence.lineage, computed, &mut sequence.pages);
    }
}

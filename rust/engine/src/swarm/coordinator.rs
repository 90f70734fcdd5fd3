//! Embeds a request and scores every specialist from its description and examples. Knows nothing of what is done with the scores.
use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    grams::Grams,
    reading::{Reader, Reading},
    settings::{CoordinatorInfo, Settings},
    similarity::{Embedded, Profile, Similarity},
    topic::Topic,
};
use crate::{
    Error, Result,
    backends::KvType,
    batch::{Batch, Model, PAGE_TOKENS, Segment, Want},
    files,
    load::{self, LoadOptions, Loaded, Quant},
    tokenize::Tokenizer,
};

/// The file beside the model's.
const SETTINGS: &str = "coordinator.json";

/// A specialist as it describes itself.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Requests it should get; at least one.
    pub examples: Vec<String>,
}

/// What a request scores.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Unit vector of the request.
    pub embedding: Vec<f32>,
    /// Of the specialists, in the order in which they were given. The softmax of all logits and `none` is calibrated.
    pub logits: Vec<(String, f32)>,
    /// That nobody fits.
    pub none: f32,
    /// Tokens read.
    pub tokens: usize,
    /// Time it took.
    pub elapsed: Duration,
}

/// A loaded coordinator and the specialists it knows.
pub struct Coordinator {
    model: Box<dyn Model>,
    reader: Reader,
    grams: Grams,
    topic: Topic,
    similarity: Similarity,
    info: CoordinatorInfo,
    specialists: Vec<(String, Profile)>,
    /// Embeddings of what the present specialists show, by text; a description is read otherwise than an example.
    known: HashMap<(bool, String), Embedded>,
}

impl Coordinator {
    /// Loads a folder: an organelle model, its tokenizer and `coordinator.json`. Runs on the caller's thread alone.
    pub fn load(folder: &Path) -> Result<Self> {
        let settings = Settings::read(&folder.join(SETTINGS))?;
        let checkpoint = files::open(folder)?;
        let hidden = checkpoint.config.hidden_size;
        let tokenizer = Tokenizer::new(&checkpoint.tokenizer)?;
        let grams = Grams::new(checkpoint.tensors.as_ref(), &tokenizer)?;
        let similarity = Similarity::new(checkpoint.tensors.as_ref(), hidden, grams.columns(), settings)?;
        let topic = Topic::new(checkpoint.tensors.as_ref(), checkpoint.config.vocab_size, hidden)?;
        let options = LoadOptions {
            quant: Quant::None,
            threads: Some(1),
            kv_type: KvType::F32,
            packed_file: false,
            ..Default::default()
        };
        let Loaded { model, info, .. } = load::load_checkpoint(checkpoint, &options)?;
        let Settings { want, temperature, threshold, ref source, .. } = *similarity.settings();
        let own = similarity.parameters() + grams.parameters();
        let info = CoordinatorInfo {
            path: info.path,
            parameters: info.parameters + own + topic.parameters(),
            weight_bytes: info.weight_bytes + 4 * own + topic.bytes(),
            kernels: info.kernels,
            embedding: want + hidden,
            window: info.context_length,
            temperature,
            threshold,
            source: source.clone(),
        };
        let reader = Reader::new(tokenizer)?;
        Ok(Self { model, reader, grams, topic, similarity, info, specialists: Vec::new(), known: HashMap::new() })
    }

    /// What was loaded.
    pub fn info(&self) -> &CoordinatorInfo {
        &self.info
    }

    /// The unit vector of a conversation of `(role, text)` turns, the last one the request.
    pub fn embed(&mut self, turns: &[(String, String)]) -> Result<Vec<f32>> {
        Ok(self.read(turns)?.vector())
    }

    /// Replaces the specialists. Only texts that are new are embedded; after an error the old ones stay.
    pub fn set_specialists(&mut self, shown: &[Shown]) -> Result<()> {
        let mut known = HashMap::new();
        let mut specialists: Vec<(String, Profile)> = Vec::with_capacity(shown.len());
        for Shown { name, description, examples } in shown {
            let refuse = |reason: &str| {
                Err(Error::Request { param: "specialists".into(), reason: format!("`{name}`: {reason}") })
            };
            if examples.is_empty() {
                return refuse("expected at least one example, found none");
            }
            if specialists.iter().any(|(other, _)| other == name) {
                return refuse("expected each name once, found it twice");
            }
            let description = self.known_or_new(true, description, &mut known)?;
            let examples =
                examples.iter().map(|text| self.known_or_new(false, text, &mut known)).collect::<Result<Vec<_>>>()?;
            specialists.push((name.clone(), self.similarity.profile(description, examples)));
        }
        (self.specialists, self.known) = (specialists, known);
        Ok(())
    }

    /// Scores every specialist for a conversation.
    pub fn score(&mut self, turns: &[(String, String)]) -> Result<Scores> {
        let started = Instant::now();
        let reading = self.reader.conversation(turns)?;
        let tokens = reading.tokens.len();
        let embedded = self.run(reading)?;
        let profiles: Vec<_> = self.specialists.iter().map(|(_, profile)| profile).collect();
        let (logits, none) = self.similarity.logits(&embedded, &profiles);
        Ok(Scores {
            logits: self.specialists.iter().map(|(name, _)| name.clone()).zip(logits).collect(),
            none,
            embedding: embedded.vector(),
            tokens,
            elapsed: started.elapsed(),
        })
    }

    fn known_or_new(
        &mut self,
        describes: bool,
        text: &str,
        known: &mut HashMap<(bool, String), Embedded>,
    ) -> Result<Embedded> {
        let key = (describes, text.to_owned());
        if let Some(vector) = known.get(&key) {
            return Ok(vector.clone());
        }
        let vector = match self.known.get(&key) {
            Some(vector) => vector.clone(),
            None if describes => self.run(self.reader.description(text)?)?,
            None => self.read(&[("user".into(), text.to_owned())])?,
        };
        known.insert(key, vector.clone());
        Ok(vector)
    }

    fn read(&mut self, turns: &[(String, String)]) -> Result<Embedded> {
        let reading = self.reader.conversation(turns)?;
        self.run(reading)
    }

    fn run(&mut self, reading: Reading) -> Result<Embedded> {
        let (topic, opinion) = (self.topic.of(&reading), self.grams.opinion(&reading));
        let Reading { tokens, request } = reading;
        let pages = (0..tokens.len().div_ceil(PAGE_TOKENS) as u32).collect();
        let segment = Segment { tokens, start: 0, pages, want: Want::Hidden, blend: None };
        let output = self.model.forward(&Batch { segments: vec![segment] })?;
        Ok(self.similarity.embed(&output[0].hidden, self.model.hidden_size(), request, topic, &opinion))
    }
}

//! Who should answer: a small model that finds the specialist for a request. Knows texts and numbers; neither adapters, nor who asks,
//! nor what is done with the answer.
mod coordinator;
mod reading;
mod settings;
mod similarity;

pub use coordinator::{Coordinator, Scores, Shown};
pub use settings::CoordinatorInfo;

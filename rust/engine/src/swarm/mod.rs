//! Who should answer: a small model that finds the specialist for a request, and what feedback says against it. Knows texts and
//! numbers; neither adapters, nor who asks, nor what is done with the answer.
mod coordinator;
mod grams;
pub mod hebbian;
mod reading;
mod settings;
mod similarity;
mod tensors;
mod topic;

pub use coordinator::{Coordinator, Scores, Shown};
pub use settings::CoordinatorInfo;

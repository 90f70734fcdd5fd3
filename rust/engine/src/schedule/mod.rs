//! Decides who runs next. Never sees a tensor or a word of text.
mod request;

pub use request::{Event, FinishReason, GenerateOptions, Request, RequestId, Task, TokenInfo, Usage};

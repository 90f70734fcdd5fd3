//! Decides who runs next. Never sees a tensor or a word of text.
//!
//! A *request* becomes one *sequence* per choice. Sequences wait in lines, one line per client; lines take turns. Each step
//! runs one token of every sequence that generates and shares a budget of prompt tokens among those that do not yet.
mod budget;
mod lines;
mod request;
mod scheduler;
mod sequence;
mod step;

use lines::Lines;
pub use request::{Event, FinishReason, GenerateOptions, Request, RequestId, Task, TokenInfo, Usage};
pub use scheduler::{ScheduleOptions, Scheduler, Submission, Window};
use sequence::{Phase, Sequence};
pub use sequence::{Purpose, SequenceKey};
pub use step::{Drafts, Plan, Row, Scope, Started};

//! The engine on a model that notices every mistake with pages and positions.
mod adapters;
mod behaviour;
mod fake;
mod faults;
mod handle;
mod harness;
mod invariants;
mod speculation;
mod transformer;
mod window;

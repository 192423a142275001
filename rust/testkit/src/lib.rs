//! What tests and benchmarks share: events that look like real ones. For development only.

pub mod events;

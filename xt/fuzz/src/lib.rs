//! What is fuzzed; each program in `bin` is one target. `t/rust/corpus.rs` replays what was found.

pub mod targets;

//! What a target does with one input. The targets in `fuzz_targets/` run these without end; `tests/fuzz_corpora.rs` runs them
//! over everything in `corpus/`, as an ordinary test.

pub mod http_answer;
pub mod http_description;
pub mod remote_answers;
pub mod sealed_header;
pub mod sealed_text;
pub mod template;

//! What can be seen from outside of a hub that runs.

#[path = "observability/figures.rs"]
mod figures;
#[path = "observability/names.rs"]
mod names;
#[path = "observability/recorder.rs"]
mod recorder;
#[expect(dead_code, unused_imports, reason = "the tests of the hub use more of it")]
#[path = "hub/support.rs"]
mod support;

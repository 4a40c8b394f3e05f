//! What can be seen from outside of a hub that runs: metrics, spans and events, the endpoints of the chat.

#[path = "observability/chat.rs"]
mod chat;
#[path = "observability/events.rs"]
mod events;
#[expect(dead_code, reason = "the tests of the backplane use more of it")]
#[path = "backplane/faulty.rs"]
mod faulty;
#[path = "observability/figures.rs"]
mod figures;
#[path = "observability/log.rs"]
mod log;
#[path = "observability/mounting.rs"]
mod mounting;
#[path = "observability/names.rs"]
mod names;
#[expect(dead_code, reason = "the tests of the hub use more of it")]
#[path = "hub/plain.rs"]
mod plain;
mod programs;
#[path = "observability/recorder.rs"]
mod recorder;
#[expect(dead_code, unused_imports, reason = "the tests of the hub use more of it")]
#[path = "hub/support.rs"]
mod support;

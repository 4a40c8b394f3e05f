//! Observability of a running hub: metrics, spans and events, and the endpoints of the chat.

mod chat;
mod events;
mod figures;
mod log;
mod mounting;
mod names;
mod recorder;

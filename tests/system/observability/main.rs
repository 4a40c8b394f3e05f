//! What can be seen from outside of a hub that runs: metrics, spans and events, the endpoints of the chat.

mod chat;
mod events;
mod figures;
mod log;
mod mounting;
mod names;
mod recorder;

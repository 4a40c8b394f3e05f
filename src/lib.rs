//! roomcast
pub mod engine;

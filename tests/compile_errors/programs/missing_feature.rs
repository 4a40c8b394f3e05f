//! Uses Redis without the feature.
use roomcast::{BuildError, Hub};

fn main() -> Result<(), BuildError> {
    Hub::<String>::builder().redis("redis://127.0.0.1", "chat").build()?;
    Ok(())
}

//~ `Builder::redis` needs the feature `redis` of the crate roomcast
//~ the feature `redis` is off
//~ in Cargo.toml: roomcast = { version = "…", features = ["redis"] }

//! Has a message type without `Serialize` and `Deserialize`.
use roomcast::Hub;

enum Event {
    Said(String),
}

fn main() {
    Hub::<Event>::new();
}

//~ the trait bound `Event: serde::Serialize` is not satisfied
//~ Hub::<Event>::new();
//~ consider adding `#[derive(serde::Serialize)]` to your `Event` type

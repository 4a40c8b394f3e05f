//! Sends text to a hub whose messages are events.
use roomcast::{Hub, PublishError};

#[derive(serde::Serialize, serde::Deserialize)]
enum Event {
    Said(String),
}

#[tokio::main]
async fn main() -> Result<(), PublishError> {
    let hub = Hub::<Event>::new();
    hub.to_room("lobby", "hello").await
}

//~ this hub sends `Event`, not `str`
//~ hub.to_room("lobby", "hello").await
//~ not a message of this hub
//~ the first type of a `Hub<Out, In>` is what it sends

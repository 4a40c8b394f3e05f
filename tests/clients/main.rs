//! The in-memory clients for tests of an application (`roomcast::test`), against hubs of all kinds. Time is paused: a
//! wait without result ends at once, and no test depends on the load of the machine.

mod closing;
mod handshake;
mod messages;
mod reading;

use std::time::Duration;

use roomcast::test::TestClient;
use tokio::time::timeout;

/// The wait for a message that must not come. No real time passes.
const NEVER: Duration = Duration::from_secs(3);

/// Asserts that no message comes to this client while all other tasks are idle.
async fn receives_nothing<Out: 'static, In: 'static>(client: &mut TestClient<Out, In>) {
    if let Ok(received) = timeout(NEVER, client.recv_raw()).await {
        panic!("{received:?}");
    }
}

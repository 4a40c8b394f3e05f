//! A compile-time table of the types that are `Send` and `Sync`, and of the futures that are `Send`.

use std::mem::size_of_val;

use roomcast::{
    BackplaneHealth, Builder, Close, Cluster, Conn, ConnId, DisconnectReason, Encoded, Endpoint,
    Handlers, Hub, Json, Local, PublishError, Raw, RawMessage, Reject, Server, ServerMonitor,
    Shutdown, ShutdownReport, Stats, Target, UpgradeRequest,
};

/// A message type that is not `Send`. A hub stores no message, so the hub is `Send`.
type Pinned = std::rc::Rc<()>;

macro_rules! assert_auto_traits {
    ($($type:ty: $($bound:path),+;)+) => {
        $(const _: () = {
            const fn assert<T: $($bound +)+>() {}
            assert::<$type>();
        };)+
    };
}

assert_auto_traits! {
    Hub<Pinned, String>: Send, Sync, Unpin, Clone;
    Conn<Pinned, String>: Send, Sync, Unpin, Clone, Eq;
    Endpoint<Handlers<Pinned, String>, Pinned, String>: Send, Sync, Unpin, Clone;
    Handlers<Pinned, String>: Send, Sync, Unpin;
    Builder<Pinned, String>: Send, Unpin;
    UpgradeRequest: Send, Sync, Unpin;
    Reject: Send, Sync, Unpin, Clone;
    Encoded: Send, Sync, Unpin, Clone;
    Target<'static>: Send, Sync, Unpin, Clone;
    ConnId: Send, Sync, Unpin, Copy;
    Close: Send, Sync, Unpin, Clone;
    DisconnectReason: Send, Sync, Unpin, Clone;
    PublishError: Send, Sync, Unpin, std::error::Error;
    Stats: Send, Sync, Unpin, Clone;
    BackplaneHealth: Send, Sync, Unpin, Clone;
    Cluster: Send, Sync, Unpin;
    Local: Send, Sync, Unpin, Clone;
    Json: Send, Sync, Unpin, Copy;
    Raw: Send, Sync, Unpin, Copy;
    RawMessage: Send, Sync, Unpin, Clone;
    Server: Send, Unpin;
    ServerMonitor: Send, Sync, Unpin, Clone;
    Shutdown: Send, Sync, Unpin, Clone;
    ShutdownReport: Send, Sync, Unpin, Clone;
}

/// Asserts that the future is `Send` and has at most this size in bytes.
fn assert_small<F: Future + Send>(future: F, bytes_max: usize) {
    let bytes = size_of_val(&future);
    assert!(bytes <= bytes_max, "{bytes} bytes");
}

/// These futures are part of the future of each handler that awaits them.
#[tokio::test]
async fn futures_of_waiting_calls_are_small_and_may_go_to_other_threads() {
    let hub = Hub::<String>::new();
    let encoded = hub.encode("text").expect("it has a representation");
    let target = Target::room("lobby");
    assert_small(hub.broadcast("text"), 448);
    assert_small(hub.to_room("lobby", "text"), 448);
    assert_small(hub.publish(&target, "text"), 448);
    assert_small(hub.publish_encoded(&target, &encoded), 448);
}

/// The futures of a connection. The function is only compiled, so the test needs no connection.
#[expect(dead_code, reason = "it is compiled, not called")]
fn futures_of_a_connection(conn: &Conn<String>, encoded: &Encoded) {
    assert_small(conn.send("text"), 0);
    assert_small(conn.send_encoded(encoded), 0);
    assert_small(conn.join("lobby"), 0);
    assert_small(conn.join_subscribed("lobby"), 0);
    assert_small(conn.join_with("lobby", || [encoded.clone()]), 0);
    assert_small(conn.leave("lobby"), 0);
    assert_small(conn.rooms(), 0);
    assert_small(conn.flushed(), 0);
}

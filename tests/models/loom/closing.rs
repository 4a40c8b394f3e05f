//! A shard that ends while other threads still send commands to it.

use std::sync::Arc;

use loom::thread;
use roomcast::engine::{Closing, ConnKey, DisconnectReason, Link, Stage};

use super::fake::{Client, Rig, Settings};
use super::{check_within, sleep_until};

fn wait_until_cut(link: &Link) {
    sleep_until(|cx| {
        link.watch_stage(cx.waker());
        link.stage() == Stage::Cut
    });
}

fn hub_closed() -> DisconnectReason {
    DisconnectReason::HubClosed(Closing::now().close)
}

fn assert_nothing_left(rig: &Rig) {
    let counters = rig.counters();
    assert_eq!(counters.connections.get(), 0);
    assert_eq!(counters.disconnected.get(), counters.connected.get());
    assert_eq!(rig.ports[0].inbox().len(), 0);
    assert!(rig.ports[0].rooms().is_empty());
}

/// Guards that a command which any thread drops from a closed inbox abandons its connection.
#[test]
fn connection_that_attaches_while_its_shard_ends_is_abandoned() {
    check_within(3, || {
        let mut rig = Settings::default().build();
        let port = rig.ports[0].clone();
        let session = thread::spawn(move || {
            let client = Client::attach(ConnKey::new(1, 0), &port);
            wait_until_cut(&client.link);
            client
        });
        let port = rig.ports[0].clone();
        let other = thread::spawn(move || port.pong(ConnKey::new(2, 0), b"any command"));
        rig.shards.clear();
        let client = session.join().unwrap();
        other.join().unwrap();
        assert_eq!(client.reason(), Some(hub_closed()));
        assert_nothing_left(&rig);
    });
}

/// Guards that the shard abandons the connections that it has attached, and that either the shard or the joiner
/// removes a room which the joiner creates meanwhile.
#[test]
fn a_connection_is_abandoned_whether_or_not_its_shard_has_taken_it_in() {
    check_within(3, || {
        let mut rig = Settings::default().build();
        let port = rig.ports[0].clone();
        let session = thread::spawn(move || {
            let client = Client::attach(ConnKey::new(1, 0), &port);
            let joined = client.port.join(&client.link, "r");
            wait_until_cut(&client.link);
            (client, joined)
        });
        rig.run();
        rig.shards.clear();
        let (client, _) = session.join().unwrap();
        assert_eq!(client.reason(), Some(hub_closed()));
        assert!(client.wire().is_dropped);
        assert_nothing_left(&rig);
    });
}

/// Guards that an abandoned link keeps the reason of its end.
#[test]
fn a_close_that_meets_the_end_of_the_shard_has_one_reason() {
    check_within(3, || {
        let mut rig = Settings::default().build();
        let client = Arc::new(rig.attach());
        rig.run();
        let session = {
            let client = client.clone();
            thread::spawn(move || {
                client.close();
                wait_until_cut(&client.link);
                client.reason()
            })
        };
        rig.run();
        rig.shards.clear();
        assert_eq!(session.join().unwrap(), client.reason());
        assert_nothing_left(&rig);
    });
}

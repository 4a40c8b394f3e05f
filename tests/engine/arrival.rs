//! Connections that attach to a shard before their socket exists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomcast::engine::{Address, CloseCode, DisconnectReason, Eviction, Overflow, Stage};

use super::fake::{Client, PING, Rig, Settings};

const WRITE_TIMEOUT: Duration = Duration::from_secs(16);

fn early(rig: &mut Rig, room: &str) -> Client {
    let client = rig.attach_early(None);
    client.join(room);
    client
}

#[test]
fn messages_sent_before_the_socket_arrives_come_first_and_in_order() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    let mut expected = Vec::new();
    for n in 0..40 {
        rig.publish(Address::Room("r"), &format!("{n}"));
        expected.push(n.to_string());
        if n == 20 {
            rig.run();
            assert_eq!(rig.counters().blocked.get(), 1);
        }
    }
    client.arrive();
    rig.publish(Address::Everyone, "later");
    expected.push("later".to_owned());
    rig.run();
    assert_eq!(client.texts(), expected);
    assert_eq!(rig.counters().blocked.get(), 0);
    assert_eq!(client.link.waiting(), 0);
}

#[test]
fn connection_is_counted_and_a_member_before_its_socket_arrives() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    rig.run();
    assert_eq!(rig.members("r"), [client.id()]);
    assert_eq!(rig.rooms_of(&client), ["r"]);
    assert_eq!(rig.counters().connections.get(), 1);
    client.leave("r");
    rig.publish(Address::Room("r"), "to nobody");
    client.arrive();
    rig.run();
    assert!(client.texts().is_empty());
}

#[test]
fn bounds_of_the_queue_hold_before_the_socket_arrives() {
    for (overflow, texts) in [
        (Overflow::Evict, vec![]),
        (Overflow::DropOldest, vec!["2".repeat(40), "3".repeat(40)]),
        (Overflow::DropNewest, vec!["1".repeat(40), "2".repeat(40)]),
    ] {
        let mut rig = Settings::default().queue(8, 100, overflow).build();
        let client = early(&mut rig, "r");
        for n in 1..4 {
            rig.publish(Address::Room("r"), &n.to_string().repeat(40));
            rig.run();
        }
        client.arrive();
        rig.run();
        assert_eq!(client.texts(), texts, "{overflow:?}");
        let evicted = overflow == Overflow::Evict;
        assert_eq!(client.close_code(), evicted.then_some(CloseCode::POLICY));
        assert_eq!(rig.counters().evicted_full.get(), u64::from(evicted));
    }
}

#[test]
fn write_timeout_begins_when_the_socket_arrives() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    rig.publish(Address::Room("r"), "a");
    rig.pass(10 * WRITE_TIMEOUT);
    assert_eq!(client.reason(), None);
    client.block();
    client.arrive();
    rig.pass(WRITE_TIMEOUT * 7 / 8);
    assert_eq!(client.reason(), None);
    rig.pass(WRITE_TIMEOUT / 4);
    let reason = client.reason();
    let is_stalled =
        matches!(reason, Some(DisconnectReason::SlowClient { cause: Eviction::Stalled, .. }));
    assert!(is_stalled, "{reason:?}");
}

#[test]
fn client_evicted_before_its_socket_arrives_gets_its_close_frame_however_late() {
    let mut rig = Settings::default().queue(8, 100, Overflow::Evict).build();
    let client = early(&mut rig, "r");
    for _ in 0..4 {
        rig.publish(Address::Room("r"), &"a".repeat(40));
        rig.run();
    }
    assert_eq!(client.stage(), Stage::Ended);
    rig.pass(10 * WRITE_TIMEOUT);
    client.arrive();
    rig.run();
    assert_eq!(client.close_code(), Some(CloseCode::POLICY));
    assert_eq!(client.stage(), Stage::Flushed);
}

#[test]
fn silence_before_the_socket_arrives_does_not_count() {
    let interval = Duration::from_secs(8);
    let mut rig = Settings::default().ping_interval(interval).build();
    let client = early(&mut rig, "r");
    rig.pass(10 * interval);
    assert_eq!(client.reason(), None);
    client.arrive();
    rig.run();
    assert_eq!(client.count(PING), 1, "of those that wait, one is left");
}

#[test]
fn close_before_the_socket_arrives_comes_after_earlier_messages() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    rig.publish(Address::Room("r"), "a");
    client.close();
    rig.publish(Address::Room("r"), "b");
    rig.run();
    assert_eq!(client.stage(), Stage::Ended);
    assert!(rig.members("r").is_empty());
    client.arrive();
    rig.run();
    assert_eq!(client.texts(), ["a"]);
    assert_eq!(client.close_code(), Some(CloseCode::NORMAL));
    assert!(client.wire().is_shut_down);
    assert_eq!(client.stage(), Stage::Flushed);
}

#[test]
fn socket_that_arrives_for_a_cut_connection_is_dropped() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    rig.publish(Address::Room("r"), "a");
    let cut = Arc::new(AtomicUsize::new(0));
    let reply = cut.clone();
    rig.ports[0].cut_all(Box::new(move |count| reply.store(count, Ordering::Relaxed)));
    rig.run();
    assert_eq!(cut.load(Ordering::Relaxed), 1);
    assert_eq!(client.stage(), Stage::Cut);
    client.arrive();
    rig.run();
    assert!(client.wire().is_aborted);
    assert_eq!(rig.counters().dropped_at_end.get(), 1);
}

#[test]
fn connection_that_leaves_before_its_socket_arrives_leaves_nothing_behind() {
    let mut rig = Settings::default().build();
    let client = early(&mut rig, "r");
    rig.publish(Address::Room("r"), "a");
    rig.run();
    client.port.detach(client.id());
    rig.run();
    let counters = rig.counters();
    assert_eq!((counters.connections.get(), counters.disconnected.get()), (0, 1));
    assert_eq!((counters.rooms.get(), counters.blocked.get()), (0, 0));
    assert_eq!((counters.deliveries.get(), counters.dropped_at_end.get()), (1, 1));
    assert_eq!(rig.budgets.queued_bytes.used(), 0);
    assert_eq!(client.link.waiting(), 0);
    assert_eq!(rig.shards[0].next_tick(), None);
}

//! Clients that do not read: the cost for the shard, the messages that the clients lose, and their eviction.

use std::time::Duration;

use roomcast::engine::{Address, CloseCode, DisconnectReason, Eviction, Overflow, Stage};

use super::fake::{CLOSE, Client, Rig, Settings};

const WRITE_TIMEOUT: Duration = Duration::from_secs(16);
/// A shard checks a blocked socket sixteen times in one write timeout.
const CHECK: Duration = Duration::from_secs(1);
/// The time that an evicted client has to read its close frame.
const GRACE: Duration = Duration::from_millis(800);

/// The bytes of a frame with a number.
const FRAME: usize = 6;

/// One room with a member whose socket accepts `window` bytes, and two members whose sockets accept everything.
fn slow_and_others(settings: Settings, window: usize) -> (Rig, Client, Vec<Client>) {
    let mut rig = settings.build();
    let mut others = rig.attach_to("r", 3);
    let slow = others.remove(1);
    slow.wire().window = Some(window);
    rig.run();
    (rig, slow, others)
}

fn slow_client(cause: Eviction, messages: usize, bytes: usize) -> DisconnectReason {
    DisconnectReason::SlowClient { cause, messages, bytes }
}

/// Publishes the numbers, one in each turn.
fn publish_each(rig: &mut Rig, numbers: std::ops::Range<usize>) {
    for n in numbers {
        rig.publish(Address::Room("r"), &format!("{n:04}"));
        rig.run();
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:04}")).collect()
}

#[test]
fn slow_client_is_evicted_when_its_queue_is_full_and_others_get_all_in_as_many_writes() {
    let settings = Settings::default().queue(16, 4 * FRAME, Overflow::Evict);
    let (mut rig, slow, others) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..4);
    assert_eq!(slow.reason(), None, "at the bound");
    publish_each(&mut rig, 4..10);
    let expected = slow_client(Eviction::Full, 5, 5 * FRAME);
    assert_eq!(slow.reason(), Some(expected));
    for other in &others {
        assert_eq!(other.texts(), numbers(0..10));
        assert_eq!(other.writes(), 10);
    }
    assert_eq!(rig.counters().evicted_full.get(), 1);
    assert_eq!(rig.counters().dropped_at_end.get(), 5);
    assert_eq!(rig.counters().deliveries.get(), 5 + 2 * 10);
    assert_eq!(rig.ports[0].rooms().members("r"), 2);
}

#[test]
fn client_with_many_small_queued_bursts_is_not_slow() {
    let settings = Settings::default().queue(4, 1_000 * FRAME, Overflow::Evict);
    let (mut rig, slow, others) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..1_000);
    assert_eq!(slow.reason(), None, "at the bound");
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..1_000));
    assert!(slow.writes() < 10, "{} writes", slow.writes());
    assert!(others.iter().all(|other| other.texts() == numbers(0..1_000)));
}

#[test]
fn a_joined_burst_takes_one_slot_of_a_queue() {
    let settings = Settings::default().queue(1, 1 << 20, Overflow::Evict);
    let (mut rig, slow, _) = slow_and_others(settings, 0);
    for text in numbers(0..100) {
        rig.publish(Address::Room("r"), &text);
    }
    rig.run();
    assert_eq!(slow.reason(), None);
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..100));
}

#[test]
fn an_evicted_client_that_reads_again_in_time_sees_1008() {
    let settings = Settings::default().queue(16, FRAME, Overflow::Evict);
    let (mut rig, slow, _) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..2);
    assert_eq!(slow.stage(), Stage::Ended);
    rig.pass(GRACE / 2);
    slow.unblock();
    rig.run();
    assert_eq!(slow.frames().len(), 1, "the queued frames are gone");
    assert_eq!(slow.close_code(), Some(CloseCode::POLICY));
    assert_eq!(slow.stage(), Stage::Flushed);
    assert!(slow.wire().is_shut_down && !slow.wire().is_aborted);
}

#[test]
fn an_evicted_client_gets_the_rest_of_a_torn_frame_before_1008() {
    let settings = Settings::default().queue(16, 4 * FRAME - 2, Overflow::Evict);
    let (mut rig, slow, _) = slow_and_others(settings, 8);
    for text in numbers(0..4) {
        rig.publish(Address::Room("r"), &text);
    }
    rig.run();
    // The first frame and two bytes of the second frame are sent. Two more bytes follow.
    publish_each(&mut rig, 4..6);
    let expected = slow_client(Eviction::Full, 5, 5 * FRAME - 2);
    assert_eq!(slow.reason(), Some(expected));
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..2));
    assert_eq!(slow.close_code(), Some(CloseCode::POLICY));
    assert_eq!(rig.counters().dropped_at_end.get(), 4);
}

#[test]
fn an_evicted_client_that_does_not_read_is_cut_after_the_grace() {
    let settings = Settings::default().queue(16, FRAME, Overflow::Evict);
    let (mut rig, slow, _) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..2);
    rig.pass(GRACE - Duration::from_millis(1));
    assert!(!slow.wire().is_aborted);
    rig.pass(CHECK + Duration::from_millis(1));
    assert!(slow.wire().is_aborted);
    assert_eq!(slow.stage(), Stage::Cut);
    assert_eq!(slow.count(CLOSE), 0);
    assert_eq!(rig.shards[0].next_tick(), None, "nothing is left to look at");
}

#[test]
fn slow_client_is_evicted_when_it_reads_nothing_for_the_write_timeout() {
    let (mut rig, slow, others) = slow_and_others(Settings::default(), 3);
    publish_each(&mut rig, 0..2);
    rig.pass(WRITE_TIMEOUT - Duration::from_millis(1));
    assert_eq!(slow.reason(), None);
    rig.pass(CHECK / 2);
    let expected = slow_client(Eviction::Stalled, 2, 2 * FRAME - 3);
    assert_eq!(slow.reason(), Some(expected));
    assert_eq!(rig.counters().evicted_stalled.get(), 1);
    assert_eq!(rig.counters().evicted_full.get(), 0);
    assert!(others.iter().all(|other| other.texts() == numbers(0..2)));
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..1), "the torn frame is finished");
    assert_eq!(slow.close_code(), Some(CloseCode::POLICY));
}

#[test]
fn slow_client_whose_queue_overflows_when_its_write_timeout_is_over_is_evicted_once() {
    let settings = Settings::default().queue(16, FRAME, Overflow::Evict);
    let (mut rig, slow, others) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..1);
    rig.elapse(WRITE_TIMEOUT - Duration::from_millis(10));
    rig.now += Duration::from_millis(90);
    publish_each(&mut rig, 1..2);
    assert!(matches!(slow.reason(), Some(DisconnectReason::SlowClient { messages: 2, .. })));
    assert_eq!(rig.counters().evicted_full.get() + rig.counters().evicted_stalled.get(), 1);
    assert_eq!(rig.members("r").len(), others.len());
    slow.port.detach(slow.id());
    // The new connection takes the same slot, and is in no room of the old connection.
    let next = rig.attach();
    publish_each(&mut rig, 2..3);
    assert!(next.texts().is_empty());
    assert_eq!(others[0].texts(), numbers(0..3));
}

#[test]
fn a_client_that_takes_a_byte_now_and_then_is_slow_and_not_stalled() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 0);
    publish_each(&mut rig, 0..2);
    for _ in 0..12 {
        rig.pass(WRITE_TIMEOUT - CHECK);
        slow.take(1);
    }
    rig.run();
    assert_eq!(slow.reason(), None);
    assert_eq!(slow.texts(), numbers(0..2));
}

#[test]
fn a_flush_that_never_ends_is_a_stall() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 100);
    slow.wire().holds_flush = true;
    publish_each(&mut rig, 0..1);
    rig.pass(WRITE_TIMEOUT + CHECK);
    let expected = slow_client(Eviction::Stalled, 0, 0);
    assert_eq!(slow.reason(), Some(expected));
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_dropped() {
    let settings = Settings::default().queue(16, 3 * FRAME, Overflow::DropOldest);
    let (mut rig, slow, others) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..10);
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(7..10));
    assert_eq!(slow.reason(), None);
    assert_eq!(rig.counters().dropped_oldest.get(), 7);
    assert_eq!(rig.counters().deliveries.get(), 30);
    assert!(others.iter().all(|other| other.texts() == numbers(0..10)));
}

#[test]
fn drop_newest_keeps_the_oldest_and_counts_the_dropped() {
    let settings = Settings::default().queue(16, 3 * FRAME, Overflow::DropNewest);
    let (mut rig, slow, others) = slow_and_others(settings, 0);
    publish_each(&mut rig, 0..10);
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..3));
    assert_eq!(slow.reason(), None);
    assert_eq!(rig.counters().dropped_newest.get(), 7);
    assert_eq!(rig.counters().deliveries.get(), 23);
    assert!(others.iter().all(|other| other.texts() == numbers(0..10)));
}

#[test]
fn keep_newest_gives_a_slow_client_the_newest_next_and_counts_the_dropped() {
    // The bound in bytes has no effect here.
    let settings = Settings::default().queue(16, 1, Overflow::KeepNewest);
    let (mut rig, slow, others) = slow_and_others(settings, FRAME + 1);
    publish_each(&mut rig, 0..10);
    assert_eq!(slow.link.waiting(), 2 * FRAME, "the torn one and the newest");
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), ["0000", "0001", "0009"]);
    assert_eq!(slow.reason(), None);
    assert_eq!(rig.counters().dropped_oldest.get(), 7);
    assert_eq!(rig.counters().deliveries.get(), 30);
    assert!(others.iter().all(|other| other.texts() == numbers(0..10)));
    // A client that reads everything misses nothing, however many messages come at once.
    rig.publish_run(Address::Room("r"), &numbers(10..20));
    rig.run();
    assert!(others.iter().all(|other| other.texts() == numbers(0..20)));
}

const KEEPING: [Overflow; 3] = [Overflow::DropOldest, Overflow::DropNewest, Overflow::KeepNewest];

#[test]
fn a_policy_that_drops_keeps_a_client_that_stalls_and_answers() {
    for policy in KEEPING {
        let (mut rig, slow, _) = slow_and_others(Settings::default().queue(16, 100, policy), 3);
        slow.wire().answers = Some(true);
        publish_each(&mut rig, 0..2);
        rig.pass(1_000 * WRITE_TIMEOUT);
        assert_eq!(slow.reason(), None, "{policy:?}");
        slow.unblock();
        rig.run();
        assert_eq!(slow.texts(), numbers(0..2), "{policy:?}");
    }
}

#[test]
fn a_client_that_stalls_and_does_not_answer_is_evicted_whatever_the_policy() {
    for policy in KEEPING.into_iter().chain([Overflow::Evict]) {
        for answers in [Some(false), None] {
            let (mut rig, slow, _) = slow_and_others(Settings::default().queue(16, 100, policy), 3);
            slow.wire().answers = Some(true);
            publish_each(&mut rig, 0..2);
            if policy != Overflow::Evict {
                rig.pass(10 * WRITE_TIMEOUT);
            }
            slow.wire().answers = answers;
            rig.pass(WRITE_TIMEOUT + 2 * CHECK);
            let expected = slow_client(Eviction::Stalled, 2, 2 * FRAME - 3);
            assert_eq!(slow.reason(), Some(expected), "{policy:?} {answers:?}");
        }
    }
}

#[test]
fn a_closed_client_that_takes_nothing_is_cut_in_time_whatever_the_policy() {
    for policy in KEEPING {
        let (mut rig, slow, _) = slow_and_others(Settings::default().queue(16, 100, policy), 3);
        slow.wire().answers = Some(true);
        publish_each(&mut rig, 0..2);
        slow.close();
        rig.pass(WRITE_TIMEOUT + 2 * CHECK);
        assert_eq!(slow.stage(), Stage::Cut, "{policy:?}");
    }
}

#[test]
fn message_larger_than_the_queue_reaches_all_members_with_an_empty_queue() {
    for policy in [Overflow::Evict, Overflow::DropOldest, Overflow::DropNewest] {
        let settings = Settings::default().queue(16, 100, policy);
        let (mut rig, slow, others) = slow_and_others(settings, 0);
        let large = "x".repeat(1_000);
        rig.publish(Address::Room("r"), &large);
        rig.run();
        rig.publish(Address::Room("r"), "small");
        rig.run();
        assert!(others.iter().all(|other| other.texts() == [&large, "small"]));
        slow.unblock();
        rig.run();
        assert_eq!(slow.texts(), [&large, "small"]);
        assert_eq!(slow.reason(), None);
    }
}

#[test]
fn a_pong_of_a_client_with_a_full_queue_is_neither_lost_nor_late() {
    let settings = Settings::default().queue(16, 2 * FRAME, Overflow::DropNewest);
    let (mut rig, slow, _) = slow_and_others(settings, 1);
    publish_each(&mut rig, 0..5);
    slow.port.pong(slow.id(), b"old");
    slow.port.pong(slow.id(), b"new");
    rig.run();
    slow.unblock();
    rig.run();
    let payloads: Vec<_> = slow.frames().into_iter().map(|frame| frame.payload).collect();
    assert_eq!(payloads, [&b"0000"[..], b"new", b"0001"]);
    assert_eq!(rig.counters().pongs_replaced.get(), 1);
}

#[test]
fn a_closed_client_has_the_write_timeout_to_take_what_was_sent_before() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 0);
    publish_each(&mut rig, 0..3);
    slow.close();
    rig.run();
    rig.pass(WRITE_TIMEOUT - CHECK);
    slow.unblock();
    rig.run();
    assert_eq!(slow.texts(), numbers(0..3));
    assert_eq!(slow.close_code(), Some(CloseCode::NORMAL));
    assert_eq!(slow.stage(), Stage::Flushed);
}

#[test]
fn a_closed_client_that_takes_a_byte_now_and_then_gets_all() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 0);
    publish_each(&mut rig, 0..3);
    slow.close();
    rig.run();
    while slow.stage() < Stage::Flushed {
        rig.pass(WRITE_TIMEOUT - CHECK);
        slow.take(1);
        rig.run();
    }
    assert_eq!(slow.texts(), numbers(0..3));
    assert_eq!(slow.close_code(), Some(CloseCode::NORMAL));
    assert_eq!(rig.counters().dropped_at_end.get(), 0);
}

#[test]
fn a_closed_client_that_takes_nothing_for_the_write_timeout_is_cut() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 0);
    publish_each(&mut rig, 0..3);
    slow.close();
    rig.pass(WRITE_TIMEOUT - CHECK);
    assert_eq!(slow.stage(), Stage::Ended);
    slow.take(FRAME + 1);
    rig.pass(WRITE_TIMEOUT - CHECK);
    assert_eq!(slow.stage(), Stage::Ended);
    rig.pass(2 * CHECK);
    assert!(slow.wire().is_aborted);
    assert_eq!(slow.stage(), Stage::Cut);
    assert_eq!(rig.counters().dropped_at_end.get(), 2);
}

#[test]
fn an_evicted_client_that_takes_a_byte_now_and_then_is_cut_all_the_same() {
    let settings = Settings::default().queue(16, FRAME, Overflow::Evict);
    let (mut rig, slow, _) = slow_and_others(settings, 1);
    publish_each(&mut rig, 0..3);
    assert!(slow.reason().is_some());
    for _ in 0..8 {
        rig.pass(GRACE / 4);
        slow.take(1);
    }
    assert!(slow.wire().is_aborted);
}

#[test]
fn a_client_that_acknowledges_what_the_kernel_holds_is_not_stalled() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 3);
    publish_each(&mut rig, 0..2);
    for acknowledged in 0..20 {
        slow.wire().acknowledged = Some(acknowledged);
        rig.pass(WRITE_TIMEOUT - 2 * CHECK);
        assert_eq!(slow.reason(), None, "after {acknowledged} bytes");
    }
    rig.pass(2 * WRITE_TIMEOUT);
    assert!(matches!(
        slow.reason(),
        Some(DisconnectReason::SlowClient { cause: Eviction::Stalled, .. })
    ));
}

#[test]
fn detached_client_is_dropped_with_its_queue() {
    let (mut rig, slow, _) = slow_and_others(Settings::default(), 0);
    publish_each(&mut rig, 0..3);
    rig.ports[0].detach(slow.id());
    rig.run();
    assert!(slow.wire().is_aborted && slow.wire().is_dropped);
    assert_eq!(rig.counters().dropped_at_end.get(), 3);
    assert_eq!(rig.shards[0].next_tick(), None);
}

//! Pings, signs of life, and the closing of silent clients.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use roomcast::engine::{Address, CloseCode, DisconnectReason, Eviction, Overflow, RunState, Stage};

use super::fake::{Client, PING, Rig, Settings};
use super::wakes::Wakes;

const INTERVAL: Duration = Duration::from_secs(64);
const TICK: Duration = Duration::from_secs(1);

fn rig() -> Rig {
    Settings::default().ping_interval(INTERVAL).build()
}

/// Advances the time tick by tick. After every tick the clients send something.
fn pass_with_life(rig: &mut Rig, clients: &[Client], time: Duration) {
    for _ in 0..time.as_secs() / TICK.as_secs() {
        rig.pass(TICK);
        clients.iter().for_each(|client| client.port.hear(&client.link));
    }
}

/// The time at which the connection ends, in steps of a millisecond.
fn ends_at(rig: &mut Rig, client: &Client) -> Duration {
    let step = Duration::from_millis(100);
    while client.reason().is_none() {
        assert!(rig.now < 10 * INTERVAL, "never ends");
        rig.pass(step);
    }
    rig.now
}

#[test]
fn a_ping_comes_every_interval_while_the_client_lives() {
    let mut rig = rig();
    let client = rig.attach();
    pass_with_life(&mut rig, std::slice::from_ref(&client), INTERVAL - TICK);
    assert_eq!(client.count(PING), 0);
    pass_with_life(&mut rig, std::slice::from_ref(&client), 3 * TICK);
    assert_eq!(client.count(PING), 1);
    pass_with_life(&mut rig, std::slice::from_ref(&client), 98 * INTERVAL);
    let pings = client.count(PING);
    assert!((96..=99).contains(&pings), "{pings} in 99 intervals");
    assert_eq!(rig.counters().pings.get(), pings as u64);
    assert_eq!(client.reason(), None);
}

#[test]
fn without_an_interval_nobody_is_pinged_or_closed_for_silence() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    rig.run();
    assert_eq!(rig.shards[0].next_tick(), None);
    rig.pass(1_000 * INTERVAL);
    assert_eq!(client.count(PING), 0);
    assert_eq!(client.reason(), None);
}

#[test]
fn a_silent_client_is_closed_as_idle_after_two_intervals() {
    for offset_ms in [0, 1, 499, 500, 999, 1_000, 31_337] {
        let mut rig = rig();
        rig.pass(Duration::from_millis(offset_ms));
        let client = rig.attach();
        rig.run();
        let silence = ends_at(&mut rig, &client) - Duration::from_millis(offset_ms);
        assert!((2 * INTERVAL..=2 * INTERVAL + 3 * TICK).contains(&silence), "{silence:?}");
        assert_eq!(client.reason(), Some(DisconnectReason::Idle));
        assert_eq!(client.count(PING), 2, "after each interval");
        assert_eq!(client.close_code(), Some(CloseCode::GOING_AWAY));
        assert_eq!(client.stage(), Stage::Flushed);
        assert_eq!(rig.counters().closed_idle.get(), 1);
    }
}

#[test]
fn any_received_byte_postpones_the_end_by_two_intervals() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let mut rig = rig();
        let client = rig.attach();
        rig.run();
        let mut heard = rig.now;
        for _ in 0..rng.u32(1..4) {
            rig.pass(Duration::from_millis(rng.u64(0..2 * 64_000)));
            client.port.hear(&client.link);
            heard = rig.now;
        }
        let silence = ends_at(&mut rig, &client) - heard;
        // The time stamp comes from the shard's clock, which is up to a tick old.
        assert!(silence > 2 * INTERVAL - TICK, "{silence:?}");
        assert!(silence <= 2 * INTERVAL + 3 * TICK, "{silence:?}");
    }
}

#[test]
fn new_client_of_a_shard_that_slept_long_has_two_full_intervals() {
    let mut rig = rig();
    // No connection exists, so nothing is due, and the clock of the shard does not move.
    rig.run();
    rig.now += 50 * INTERVAL;
    let client = rig.attach();
    let attached = rig.now;
    rig.run();
    while client.reason().is_none() {
        rig.pass(TICK);
    }
    let silence = rig.now - attached;
    assert!(silence >= 2 * INTERVAL, "closed after {silence:?}");
    assert!(client.count(PING) > 0, "it is asked before it is closed");
}

#[test]
fn keep_alive_runs_while_the_inbox_is_never_empty() {
    let mut rig = rig();
    let silent = rig.attach();
    let lively = rig.attach_to("r", 3);
    while rig.now < 2 * INTERVAL + 3 * TICK {
        rig.publish(Address::Room("r"), "load");
        let state = rig.shards[0].run(rig.now, 2);
        assert_eq!(state, RunState::Busy, "there is always more to do");
        lively.iter().for_each(|client| client.port.hear(&client.link));
        rig.now += Duration::from_millis(100);
    }
    assert_eq!(silent.reason(), Some(DisconnectReason::Idle));
    assert!(silent.count(PING) > 0);
    assert!(lively.iter().all(|client| client.count(PING) > 0 && client.reason().is_none()));
}

#[test]
fn thousand_clients_of_all_ages_are_pinged_and_closed_on_time() {
    let mut rig = rig();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        rig.pass(Duration::from_millis(rng.u64(0..100)));
        clients.push((rig.attach(), rig.now));
    }
    let gone: Vec<_> = (0..200).map(|_| clients.swap_remove(rng.usize(0..clients.len()))).collect();
    gone.iter().for_each(|(client, _)| rig.ports[0].detach(client.id()));
    rig.run();
    while !clients.is_empty() {
        rig.pass(TICK / 2);
        let now = rig.now;
        clients.retain(|(client, attached)| {
            let silence = now - *attached;
            let is_closed = client.reason().is_some();
            assert!(!is_closed || silence >= 2 * INTERVAL, "closed after {silence:?}");
            assert!(is_closed || silence <= 2 * INTERVAL + 4 * TICK, "open after {silence:?}");
            assert!(silence < INTERVAL + 2 * TICK || client.count(PING) > 0);
            !is_closed
        });
    }
    assert_eq!(rig.counters().connections.get(), 0);
    assert_eq!(rig.counters().closed_idle.get(), 800);
}

#[test]
fn pings_of_a_blocked_socket_do_not_pile_up() {
    let mut rig = rig();
    let client = rig.attach();
    client.block();
    // Half of the write timeout, so that the client is not evicted.
    pass_with_life(&mut rig, std::slice::from_ref(&client), INTERVAL + 8 * TICK);
    client.unblock();
    rig.run();
    assert_eq!(client.count(PING), 1);
    assert_eq!(client.reason(), None);
}

#[test]
fn process_that_was_stopped_first_closes_nobody_and_later_the_silent_clients() {
    for stopped in [Duration::from_millis(500), INTERVAL, 100 * INTERVAL] {
        let mut rig = rig();
        let client = rig.attach();
        let blocked = rig.attach();
        rig.pass(2 * INTERVAL - 2 * TICK);
        blocked.block();
        rig.publish(Address::Conn(blocked.id()), "waits");
        rig.run();
        rig.now += stopped;
        rig.run();
        assert_eq!((client.reason(), blocked.reason()), (None, None), "{stopped:?}");
        rig.pass(TICK);
        assert_eq!(client.reason(), None);
        rig.pass(5 * TICK);
        assert_eq!(client.reason(), Some(DisconnectReason::Idle), "{stopped:?}");
    }
}

#[test]
fn a_client_whose_bytes_wait_to_be_read_is_not_silent() {
    let mut rig = rig();
    let client = rig.attach();
    client.wire().has_unread = true;
    rig.pass(10 * INTERVAL);
    assert_eq!(client.reason(), None);
    client.wire().has_unread = false;
    rig.pass(2 * INTERVAL);
    assert_eq!(client.reason(), Some(DisconnectReason::Idle));
}

#[test]
fn ping_that_cannot_be_written_evicts_the_client_after_the_write_timeout() {
    let mut rig = rig();
    let client = rig.attach();
    client.block();
    pass_with_life(&mut rig, std::slice::from_ref(&client), INTERVAL + 20 * TICK);
    assert_eq!(
        client.reason(),
        Some(DisconnectReason::SlowClient { cause: Eviction::Stalled, messages: 0, bytes: 0 })
    );
}

#[test]
fn session_that_waits_for_its_pong_is_woken_when_it_has_left() {
    let mut rig = rig();
    let client = rig.attach();
    rig.run();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let woken = || wakes.take();
    let ping = || {
        client.link.start_pong();
        client.port.pong(client.id(), b"");
    };
    assert!(!client.link.awaits_pong(&waker), "there is none yet");
    ping();
    assert!(client.link.awaits_pong(&waker));
    assert!(client.link.awaits_pong(&waker), "also when it is asked again");
    rig.run();
    assert_eq!((woken(), client.link.awaits_pong(&waker)), (1, false));
    ping();
    rig.run();
    assert_eq!((woken(), client.link.awaits_pong(&waker)), (0, false), "nobody has waited");
    // A session whose connection has ended meanwhile is woken, too.
    client.port.close(client.id(), DisconnectReason::Idle);
    ping();
    assert!(client.link.awaits_pong(&waker));
    rig.run();
    assert!(woken() >= 1 && !client.link.awaits_pong(&waker));
}

#[test]
fn silent_slow_client_that_acknowledges_is_kept_if_the_policy_keeps_it() {
    // The socket is blocked, or its kernel buffer holds bytes that the peer has not acknowledged.
    for (window, acknowledged) in [(Some(3), None), (None, Some(1))] {
        let settings = Settings::default().queue(16, 100, Overflow::DropOldest);
        let mut rig = settings.ping_interval(INTERVAL).build();
        let client = rig.attach();
        {
            let mut wire = client.wire();
            (wire.window, wire.acknowledged, wire.answers) = (window, acknowledged, Some(true));
        }
        rig.publish(Address::Everyone, "a message");
        rig.pass(100 * INTERVAL);
        assert_eq!(client.reason(), None, "{window:?}");
        // The client has read everything, and is silent from then on.
        client.unblock();
        rig.run();
        client.wire().acknowledged = None;
        rig.pass(4 * INTERVAL);
        assert_eq!(client.reason(), Some(DisconnectReason::Idle), "{window:?}");
    }
}

#[test]
fn a_silent_client_that_does_not_answer_is_idle_whatever_the_policy() {
    for answers in [Some(false), None] {
        let settings = Settings::default().queue(16, 100, Overflow::KeepNewest);
        let mut rig = settings.ping_interval(INTERVAL).build();
        let client = rig.attach();
        client.wire().acknowledged = Some(0);
        client.wire().answers = answers;
        rig.publish(Address::Everyone, "a message");
        rig.pass(3 * INTERVAL);
        assert_eq!(client.reason(), Some(DisconnectReason::Idle), "{answers:?}");
    }
}

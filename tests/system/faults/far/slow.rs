//! Clients that are really slow: they are evicted within the bounds of bytes and of time, and the other clients
//! notice nothing.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::member::{End, Heard, Listening, connect};
use super::publisher::{Flow, Publisher};
use super::stage::{Stage, all_of};
use support::network::Profile;
use support::scene::server::DEADLINE;

/// The number of the slow client's link; the other links follow.
const SLOW: usize = 0;
const OTHERS: usize = 3;

/// The most bytes that were sent and not read at the eviction: the hub's default queue of a client, and
/// as much again in the buffers of both kernels.
const HELD_MAX: usize = 2 * 1024 * 1024;

/// The most growth of the server's memory, in KiB, with a queue of 1 MiB.
const GROWN_MAX: u64 = 16 * 1024;

/// The reason why the client is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slowness {
    /// Its link carries half of the room's rate.
    HalfTheRate,
    ReadsNothing,
}

struct Outcome {
    /// The time from the first line until the hub evicted the client.
    evicted_after: Option<Duration>,
    /// The lines that the slow client has read.
    slow: Heard,
    others: Vec<Heard>,
    grown: u64,
    evictions: u64,
}

/// 500 lines a second of 2 kB.
fn flow(seconds: usize) -> Flow {
    Flow { lines: 500 * seconds, bytes: 2_000, over: Duration::from_secs(seconds as u64) }
}

fn links() -> Vec<Profile> {
    let slow = Profile::new(Duration::from_millis(50), 4_000_000);
    let other = Profile::new(Duration::from_millis(20), 100_000_000);
    [vec![slow], vec![other; OTHERS]].concat()
}

/// Waits for the eviction. Returns when it happened.
async fn evicted(stage: &Stage, began: Instant, within: Duration) -> Option<Duration> {
    while began.elapsed() < within {
        if stage.server.stats("room").await.hub.evictions() > 0 {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

async fn be_slow(stage: Stage, slowness: Slowness, flow: Flow) -> Outcome {
    let began = Instant::now();
    let listening = Listening::to(flow.lines, began, began + flow.over + DEADLINE);
    let others = stage.gather(1..1 + OTHERS, listening).await;
    let (wake, woken) = oneshot::channel::<()>();
    let addr = stage.addr();
    let slow = stage.network.clients.spawn(async move {
        let mut client = connect(addr, SLOW, None).await;
        if slowness == Slowness::ReadsNothing {
            // Waits for the eviction, and then reads the lines that have come.
            let _ = woken.await;
        }
        listening.hear(&mut client).await
    });
    stage.joined(OTHERS + 1).await;
    let publisher = Publisher::enter(stage.server.addr(), listening).await;
    stage.joined(OTHERS + 2).await;
    let (resident, began) = (stage.server.resident(), Instant::now());
    let publishing = tokio::spawn(publisher.say(flow));
    let evicted_after = evicted(&stage, began, flow.over).await;
    drop(wake);
    let slow = slow.await.expect("the task does not panic");
    publishing.await.expect("the publisher does not panic");
    let others = all_of(others).await;
    let grown = stage.server.resident_peak().saturating_sub(resident);
    let evictions = stage.server.stats("room").await.hub.evictions();
    Outcome { evicted_after, slow, others, grown, evictions }
}

fn play(slowness: Slowness, seconds: usize) {
    let flow = flow(seconds);
    let Some(outcome) = Stage::play(&links(), move |stage| be_slow(stage, slowness, flow)) else {
        return;
    };
    let Outcome { evicted_after, slow, others, grown, .. } = &outcome;
    let longest = others.iter().map(|heard| heard.longest).max();
    println!(
        "{slowness:?} of {} B/s: evicted after {evicted_after:.1?}, had read {} lines, ended with {}; \
         the others waited {longest:.0?} for a line at most; memory grew by {grown} KiB",
        flow.lines * flow.bytes / seconds,
        slow.lines,
        slow.end,
    );
    outcome.check(flow);
}

impl Outcome {
    fn check(&self, flow: Flow) {
        for heard in &self.others {
            let all = (flow.lines as u64, &End::Complete, true);
            assert_eq!((heard.lines, &heard.end, heard.in_order), all, "others miss nothing");
        }
        let evicted_after =
            self.evicted_after.expect("the client is evicted while the room is busy");
        assert_eq!(self.evictions, 1);
        assert!(self.slow.in_order, "what has come is the beginning");
        let part = evicted_after.as_secs_f64() / flow.over.as_secs_f64();
        let said = (flow.lines as f64 * part) as usize * flow.bytes;
        let held = said.saturating_sub(self.slow.lines as usize * flow.bytes);
        assert!(held <= HELD_MAX, "{held} bytes held after {evicted_after:?}");
        assert!(self.grown <= GROWN_MAX, "{} KiB", self.grown);
    }
}

#[test]
fn member_whose_link_is_half_as_fast_as_the_room_is_evicted() {
    play(Slowness::HalfTheRate, 10);
}

#[test]
fn far_member_that_reads_nothing_is_evicted() {
    play(Slowness::ReadsNothing, 10);
}

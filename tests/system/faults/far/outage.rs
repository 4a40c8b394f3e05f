//! The link of a member of a busy room dies, and comes back.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::member::{End, Heard, Listening};
use super::publisher::{Flow, Publisher};
use super::stage::{Stage, all_of};
use support::network::Profile;
use support::network::namespaces::Network;

/// The number of the link that dies; the other links follow.
const DYING: usize = 0;
const OTHERS: usize = 2;

/// The time before the outage.
const BEFORE: Duration = Duration::from_secs(1);

/// The time after the outage within which the client must have the end of its connection, or all lines.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// The longest time that the test waits for this.
const PATIENCE: Duration = Duration::from_secs(30);

struct Outcome {
    dying: Heard,
    /// The time from the end of the outage until this client was done.
    told_after: Duration,
    others: Vec<Heard>,
    evictions: u64,
}

/// A hundred lines a second of 1 kB, from before the outage until long after it.
fn flow(outage: Duration) -> Flow {
    let over = BEFORE + outage + Duration::from_secs(5);
    Flow { lines: over.as_millis() as usize / 10, bytes: 1_000, over }
}

async fn outage(network: &Network, from: Instant, outage: Duration) -> Instant {
    sleep_until(from).await;
    network.link(DYING).set_dead(true);
    sleep_until(from + outage).await;
    network.link(DYING).set_dead(false);
    Instant::now()
}

async fn die(stage: Stage, length: Duration) -> Outcome {
    let (flow, began) = (flow(length), Instant::now());
    let deadline = began + BEFORE + length + PATIENCE;
    let listening = Listening::to(flow.lines, began, deadline);
    let members = stage.gather(0..1 + OTHERS, listening).await;
    let publisher = Publisher::enter(stage.server.addr(), listening).await;
    let publishing = tokio::spawn(publisher.say(flow));
    let back = outage(&stage.network, Instant::now() + BEFORE, length).await;
    let mut heard = all_of(members).await;
    publishing.await.expect("the publisher does not panic");
    let dying = heard.remove(DYING);
    let evictions = stage.server.stats("room").await.hub.evictions();
    let told_after = dying.end_at.saturating_duration_since(back);
    Outcome { dying, told_after, others: heard, evictions }
}

fn play(length: Duration) -> Option<Outcome> {
    let link = Profile::new(Duration::from_millis(50), 100_000_000);
    let outcome = Stage::play(&[link; 1 + OTHERS], move |stage| die(stage, length))?;
    let Outcome { dying, told_after, others, evictions } = &outcome;
    let mut told = format!("the link was dead for {length:?}: ");
    let _ = match dying.end {
        End::Hanging => write!(told, "the client hangs, {PATIENCE:?} after it is back"),
        ref end => write!(told, "the client ends with {end}, {told_after:.2?} after it is back"),
    };
    println!("{told}; {} of {} lines, {evictions} evicted", dying.lines, flow(length).lines);
    for heard in others {
        assert!(heard.in_order && heard.end == End::Complete, "others miss nothing: {heard:?}");
    }
    Some(outcome)
}

#[test]
fn connection_of_a_member_ends_soon_after_a_long_outage_of_its_link() {
    let Some(outcome) = play(Duration::from_secs(15)) else { return };
    assert_eq!(outcome.evictions, 1);
    assert_ne!(outcome.dying.end, End::Hanging, "the client would wait for ever");
    assert!(outcome.told_after <= TOLD_WITHIN, "after {:?}", outcome.told_after);
}

/// The outage is shorter than the write timeout, and its messages fit into the send queue.
#[test]
fn member_gets_all_messages_after_a_short_outage_of_its_link() {
    let Some(outcome) = play(Duration::from_secs(2)) else { return };
    assert_eq!((outcome.dying.end, outcome.evictions), (End::Complete, 0));
    assert!(outcome.dying.in_order);
}

#[test]
#[ignore = "minutes of outages"]
fn no_connection_hangs_after_an_outage_of_its_link() {
    let mut hanging = Vec::new();
    for seconds in [1, 3, 6, 10, 15, 30, 60] {
        let Some(outcome) = play(Duration::from_secs(seconds)) else { return };
        if outcome.dying.end == End::Hanging {
            hanging.push(seconds);
        }
    }
    assert!(hanging.is_empty(), "after outages of {hanging:?} s it would wait for ever");
}

//! Distances, bandwidths and losses, with bursts and a steady flow: no client is evicted below the
//! throughput of its link and the bound of the send queue.

use std::time::Duration;

use super::publisher::Flow;
use super::stage::Report;
use support::network::Profile;

/// The payload of a full packet, in bytes.
const SEGMENT: f64 = 1_448.0;

/// The part of a link's throughput that the steady flow uses.
const STEADY_PART: f64 = 0.5;

/// The bounds of the steady flow, in bytes and lines a second: low enough for a debug build of the server.
const STEADY_BYTES_MAX: f64 = 500_000.0;
const STEADY_LINES_MAX: f64 = 500.0;

/// TCP's throughput over a link, in bytes a second: the bandwidth or, with loss, the formula of Mathis.
fn throughput(link: &Profile) -> f64 {
    let bandwidth = link.bits_per_second as f64 / 8.0;
    let by_loss = SEGMENT / link.round_trip.as_secs_f64() * 1.22 / link.loss.sqrt();
    bandwidth.min(by_loss)
}

/// A flow of half of the link's throughput.
fn steady(link: &Profile, seconds: u64) -> Flow {
    let rate = (throughput(link) * STEADY_PART).min(STEADY_BYTES_MAX);
    // With 200 bytes of JSON, frame and headers around 300 of text.
    let bytes = (rate / STEADY_LINES_MAX - 200.0).max(300.0);
    let lines = rate / (bytes + 200.0) * seconds as f64;
    Flow { lines: lines as usize, bytes: bytes as usize, over: Duration::from_secs(seconds) }
}

/// The lines that are sent over a grid of links.
#[derive(Debug, Clone, Copy)]
enum Saying {
    /// Sixty lines of 4 kB in 60 ms.
    Burst,
    /// A thousand lines of 900 bytes in 50 ms: with their JSON, they nearly fill the send queue.
    ManyLines,
    /// Half of the link's throughput, for this many seconds.
    Steady(u64),
}

impl Saying {
    fn flow(self, link: &Profile) -> Flow {
        let over = Duration::from_millis;
        match self {
            Self::Burst => Flow { lines: 60, bytes: 4_000, over: over(60) },
            Self::ManyLines => Flow { lines: 1_000, bytes: 900, over: over(50) },
            Self::Steady(seconds) => steady(link, seconds),
        }
    }
}

/// Plays a scene with one member behind a link. Returns its row of the table, and whether all lines arrived.
fn play(link: Profile, saying: Saying) -> Option<(String, bool)> {
    let flow = saying.flow(&link);
    let report = Report::of(&[link], flow)?;
    let row = format!(
        "| {} ms | {} Mbit/s | {:.0} % | {} × {} B in {:.2} s | {} |",
        link.round_trip.as_millis(),
        link.bits_per_second / 1_000_000,
        link.loss * 100.0,
        flow.lines,
        flow.bytes,
        flow.over.as_secs_f64(),
        report.cells()
    );
    println!("{row}");
    Some((row, report.is_whole()))
}

fn play_all(links: &[Profile], sayings: &[Saying]) {
    println!("{}", Report::head("round trip | bandwidth | loss | said"));
    let mut broken = Vec::new();
    for &link in links {
        for &saying in sayings {
            let Some((row, is_whole)) = play(link, saying) else { return };
            if !is_whole {
                broken.push(row);
            }
        }
    }
    let rows = links.len() * sayings.len();
    assert!(broken.is_empty(), "{} of {rows}:\n{}", broken.len(), broken.join("\n"));
}

fn link(round_trip: u64, megabits: u64) -> Profile {
    Profile::new(Duration::from_millis(round_trip), megabits * 1_000_000)
}

#[test]
fn member_on_a_thin_or_lossy_link_gets_all_messages() {
    play_all(&[link(100, 10)], &[Saying::Burst, Saying::ManyLines, Saying::Steady(2)]);
    play_all(&[link(100, 10).with_loss(0.02)], &[Saying::Burst, Saying::Steady(3)]);
}

#[test]
#[ignore = "ten minutes"]
fn far_members_get_all_messages_over_any_link() {
    let round_trips = [5, 20, 50, 100, 200, 300].into_iter();
    let links = round_trips.flat_map(|round_trip| [1, 10, 100].map(|rate| link(round_trip, rate)));
    let links: Vec<_> = links.flat_map(|link| [link, link.with_loss(0.02)]).collect();
    play_all(&links, &[Saying::Burst, Saying::ManyLines, Saying::Steady(10)]);
}

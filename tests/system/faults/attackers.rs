//! Attackers next to well-behaved clients.

use std::time::Duration;

use crate::attacks::Attack;
use crate::party::{Party, Tally};
use crate::raise_descriptor_limit;
use support::scene::crowd::{Crowd, SLOWDOWN_MAX, median};
use support::scene::server::{ANY_RATE, Server, Stats};

/// The time between two messages of the publisher: below the rate that the chat allows.
const PACE: Duration = Duration::from_millis(25);

/// The chat with compression.
const COMPRESSION: &[&str] = &["--compression", "shared"];

/// The most memory that an attacker may cost the server, in KiB.
const KIB_PER_ATTACKER_MAX: f64 = 128.0;

/// The memory of a compressor, and the bound of the hub for all compressors, in KiB.
const KIB_PER_COMPRESSOR: f64 = 150.0;
const COMPRESSORS_KIB_MAX: f64 = 32.0 * 1024.0;

/// The inflated messages of a burst that the chat allows to one client. They may wait for a shard at the same time.
const KIB_PER_BURST: f64 = 256.0;

struct Scale {
    attackers: usize,
    members: usize,
    rounds: usize,
    lines: usize,
    /// Whether the attackers also attack another server on the same machine: this shows how much the
    /// shared machine alone delays the crowd.
    elsewhere: bool,
}

impl Scale {
    /// The most memory that an attacker costs more if it compresses. It has a room of its own.
    fn kib_to_compress(&self) -> f64 {
        KIB_PER_BURST + KIB_PER_COMPRESSOR.min(COMPRESSORS_KIB_MAX / self.attackers as f64)
    }
}

const SMALL: Scale = Scale { attackers: 50, members: 10, rounds: 1, lines: 80, elsewhere: false };
const FULL: Scale =
    Scale { attackers: 1_000, members: 200, rounds: 5, lines: 120, elsewhere: true };

/// The result of an attack.
struct Outcome {
    /// How the attackers ended.
    tally: Tally,
    stats: Stats,
    /// The 99th percentiles of each round, in µs.
    without: Vec<u64>,
    with: Vec<u64>,
    elsewhere: Vec<u64>,
    /// The CPU time of the server during the attack.
    busy: Duration,
    kib_per_attacker: f64,
}

impl Outcome {
    fn ended_by(&self, what: &str) -> u64 {
        self.tally.get(what).copied().unwrap_or_default()
    }

    /// The ratio of the other clients' wait with attackers to their wait in the same round without.
    fn slowdown(&self) -> f64 {
        ratio(&self.with, &self.without)
    }

    fn print(&self, attack: Attack, scale: &Scale, arguments: &[&str]) {
        let Self { tally, without, with, elsewhere, busy, kib_per_attacker, .. } = self;
        let seconds = PACE.as_secs_f64() * (scale.lines * scale.rounds) as f64;
        let rounds =
            [("without", without), ("with", with), ("with attackers elsewhere", elsewhere)];
        let told = rounds.iter().filter(|(_, p99s)| !p99s.is_empty()).map(|(when, p99s)| {
            let ms = median(p99s.iter().map(|&us| us as f64 / 1e3).collect());
            format!("{ms:.1} ms {when}, {:.2} times as long ({p99s:?} µs)", ratio(p99s, without))
        });
        println!(
            "{} {} {arguments:?}: p99 {}; {kib_per_attacker:.1} KiB an attacker; {:.0} % of a core; {tally:?}",
            scale.attackers,
            attack.name(),
            told.collect::<Vec<_>>().join(", "),
            100.0 * busy.as_secs_f64() / seconds,
        );
    }
}

/// The median of the ratios of the percentiles, round by round, because the other load of the machine changes from
/// one round to the next.
fn ratio(some: &[u64], others: &[u64]) -> f64 {
    let rounds = some.iter().zip(others);
    median(rounds.map(|(&one, &other)| one as f64 / other as f64).collect())
}

/// Runs a crowd in turns: without attackers, with attackers, and with attackers of another server.
async fn withstand(attack: Attack, scale: &Scale, arguments: &[&str]) -> Outcome {
    raise_descriptor_limit();
    let server = Server::chat(arguments).await;
    let other = match scale.elsewhere {
        true => Some(Server::chat(arguments).await),
        false => None,
    };
    let mut crowd = Crowd::gather(&server, "crowd", scale.members, 10).await;
    // One-time allocations must not count for the attackers.
    crowd.publish(20, PACE).await;
    let before = server.resident();
    let (mut without, mut with, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tally, mut busy) = (Tally::new(), Duration::ZERO);
    for _ in 0..scale.rounds {
        without.push(crowd.publish(scale.lines, PACE).await.value_at_quantile(0.99));
        let party = Party::start(attack, server.addr(), scale.attackers).await;
        let cpu_before = server.cpu();
        with.push(crowd.publish(scale.lines, PACE).await.value_at_quantile(0.99));
        busy += server.cpu() - cpu_before;
        for (end, count) in party.stop().await {
            *tally.entry(end).or_default() += count;
        }
        server.descriptors_fall_to(crowd.size() + 1).await;
        if let Some(other) = &other {
            let party = Party::start(attack, other.addr(), scale.attackers).await;
            elsewhere.push(crowd.publish(scale.lines, PACE).await.value_at_quantile(0.99));
            party.stop().await;
            other.nothing_is_left().await;
        }
    }
    let more = server.resident_peak().saturating_sub(before);
    crowd.leave().await;
    let stats = server.nothing_is_left().await;
    let kib_per_attacker = more as f64 / scale.attackers as f64;
    let outcome = Outcome { tally, stats, without, with, elsewhere, busy, kib_per_attacker };
    outcome.print(attack, scale, arguments);
    let kib_max =
        KIB_PER_ATTACKER_MAX + if arguments == COMPRESSION { scale.kib_to_compress() } else { 0.0 };
    assert!(kib_per_attacker <= kib_max, "{kib_per_attacker} KiB an attacker, not {kib_max}");
    assert_eq!(outcome.stats.hub.evictions(), 0, "no client is evicted");
    outcome
}

/// The expected fate of the attackers.
enum Fate {
    /// The server ends them with this code or status, or cuts them off, and counts it here.
    Told(&'static str, fn(&Stats) -> u64),
    /// The same, but after some seconds: the small scenes end earlier.
    ToldLate(&'static str, fn(&Stats) -> u64),
    /// They do nothing forbidden, and stay.
    Endured,
    /// They stay, and the server counts this.
    Noticed(fn(&Stats) -> u64),
    /// They leave by themselves.
    Gone,
}

impl Fate {
    fn check(&self, outcome: &Outcome, scale: &Scale) {
        let is_small = scale.attackers == SMALL.attackers;
        let Outcome { tally, stats, .. } = outcome;
        let only = |ends: &[&str]| {
            tally.keys().all(|end| ["dials", "beats"].iter().chain(ends).any(|one| end == one))
        };
        match self {
            Self::Told(what, counted) | Self::ToldLate(what, counted)
                if !is_small || matches!(self, Self::Told(..)) =>
            {
                let told = outcome.ended_by(what);
                assert!(told >= scale.attackers as u64, "each attacker gets {what}: {tally:?}");
                assert!(only(&["stayed", what]), "no attacker ends otherwise: {tally:?}");
                // An attacker that counts as stayed may have been closed just then.
                assert!(counted(stats) >= told, "{what} is counted: {stats:?}");
            }
            Self::Gone => assert!(only(&["stayed", "gone"]), "{tally:?}"),
            _ => {
                assert!(only(&["stayed"]), "no attacker is closed: {tally:?}");
                assert_eq!((stats.hub.closed_flooding, stats.hub.closed_slow_message), (0, 0));
                if let Self::Noticed(counted) = self {
                    assert!(counted(stats) >= scale.attackers as u64, "{stats:?}");
                }
            }
        }
    }
}

macro_rules! attacks {
    ($($name:ident: $attack:ident, $arguments:expr, $lines:expr, $fate:expr;)+) => {
        mod small {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let outcome = withstand(Attack::$attack, &SMALL, $arguments).await;
                $fate.check(&outcome, &SMALL);
            })+
        }

        mod full {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "a thousand attackers"]
            async fn $name() {
                let scale = Scale { lines: $lines, ..FULL };
                let outcome = withstand(Attack::$attack, &scale, $arguments).await;
                $fate.check(&outcome, &scale);
                let slowdown = outcome.slowdown();
                assert!(slowdown <= SLOWDOWN_MAX, "others wait {slowdown} times as long");
            })+
        }
    };
}

// Columns: test, attack, arguments of the server, lines of the crowd (40 a second), expected fate.
attacks! {
    endless_fragments: Fragments, &[], 120, Fate::Told("1008", |stats| stats.hub.closed_fragments);
    huge_lengths: HugeLength, &[], 120, Fate::Told("1009", |stats| stats.hub.closed_too_big);
    trickles: Trickle, &[], 500, Fate::ToldLate("1008", |stats| stats.hub.closed_slow_message);
    floods_of_pings: Pings, &[], 120, Fate::Told("1008", |stats| stats.hub.closed_flooding);
    floods_of_pings_at_any_rate: Pings, ANY_RATE, 120, Fate::Endured;
    lawful_pings: LawfulPings, &[], 120, Fate::Endured;
    bytes_one_by_one: SlowMessages, &[], 120, Fate::Endured;
    deep_json: DeepJson, &[], 120, Fate::Noticed(|stats| stats.hub.decode_errors);
    slow_handshakes: SlowHandshake, &[], 280, Fate::ToldLate("cut off", |stats| stats.server.heads_timed_out);
    many_headers: ManyHeaders, &[], 120, Fate::Told("431", |stats| stats.server.heads_too_large);
    long_headers: LongHeader, &[], 120, Fate::Told("431", |stats| stats.server.heads_too_large);
    slow_heads: SlowHead, &[], 280, Fate::ToldLate("cut off", |stats| stats.server.heads_timed_out);
    floods_of_connects: Connects, &[], 120, Fate::Gone;
    ratio_bombs: Bombs, COMPRESSION, 120, Fate::Told("1009", |stats| stats.hub.closed_too_big);
    long_offers: LongOffers, COMPRESSION, 120, Fate::Gone;
    compressed_bytes_one_by_one: CompressedBytes, COMPRESSION, 120, Fate::Noticed(|stats| stats.hub.compressed_in);
    floods_of_compressed_messages: CompressedFlood, COMPRESSION, 120, Fate::Told("1008", |stats| stats.hub.closed_flooding);
    floods_of_inflating_messages: InflatingFlood, COMPRESSION, 120, Fate::Told("1008", |stats| stats.hub.closed_flooding);
    lawful_inflating_messages: LawfulInflating, COMPRESSION, 120, Fate::Noticed(|stats| stats.hub.compressed_in);
}

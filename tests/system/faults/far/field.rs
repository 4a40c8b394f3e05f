//! Cases that occurred in the field: ordinary bursts over ordinary distances.

use std::time::Duration;

use super::publisher::Flow;
use super::stage::Report;
use support::network::Profile;

/// Members of the room.
const MEMBERS: usize = 5;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One burst, or a flow.
#[derive(Debug, Clone, Copy)]
struct Case {
    round_trip: Duration,
    flow: Flow,
}

impl Case {
    fn play(&self) -> Option<Report> {
        let link = Profile::new(self.round_trip, 100_000_000);
        Report::of(&[link; MEMBERS], self.flow)
    }

    fn row(&self, report: &Report) -> String {
        let Flow { lines, bytes, over } = self.flow;
        let round_trip = self.round_trip.as_millis();
        let (over, cells) = (over.as_secs_f64(), report.cells());
        format!("| {round_trip} ms | {lines} × {bytes} B in {over:.2} s | {cells} |")
    }
}

/// Sixty lines of 4 kB.
const fn burst(round_trip: u64, over: u64) -> Case {
    Case { round_trip: ms(round_trip), flow: Flow { lines: 60, bytes: 4_000, over: ms(over) } }
}

/// A hundred lines of 1 kB.
const SHORT_LINES: Case =
    Case { round_trip: ms(50), flow: Flow { lines: 100, bytes: 1_000, over: ms(50) } };

/// 500 lines a second, for some seconds.
const fn busy_room(seconds: usize) -> Case {
    let over = Duration::from_secs(seconds as u64);
    Case { round_trip: ms(200), flow: Flow { lines: 500 * seconds, bytes: 300, over } }
}

/// Plays the cases, and prints all of them, also if one fails.
fn play(cases: &[Case]) {
    println!("{}", Report::head("round trip | said"));
    let mut broken = Vec::new();
    for case in cases {
        let Some(report) = case.play() else { return };
        let row = case.row(&report);
        println!("{row}");
        if !report.is_whole() {
            broken.push(row);
        }
    }
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), cases.len(), broken.join("\n"));
}

#[test]
fn burst_reaches_far_members() {
    play(&[burst(20, 60), burst(50, 20), burst(200, 120), SHORT_LINES]);
}

/// Members near and far, in one room.
#[test]
fn burst_reaches_near_and_far_members_of_one_room() {
    let links = [5, 20, 100, 300].map(|round_trip| Profile::new(ms(round_trip), 100_000_000));
    let Some(report) = Report::of(&links, burst(0, 60).flow) else { return };
    println!("{}", Report::head("round trips"));
    println!("| 5, 20, 100 and 300 ms | {} |", report.cells());
    assert!(report.is_whole(), "{report:?}");
    let near = report.members[0].last_at.min(report.members[1].last_at);
    assert!(near < report.members[3].last_at, "near members do not wait for far members");
}

#[test]
fn messages_of_a_busy_room_reach_very_far_members() {
    play(&[busy_room(3)]);
}

#[test]
#[ignore = "half a minute of the field"]
fn far_members_get_all_messages_in_the_cases_from_the_field() {
    let bursts = [5, 10, 20, 50, 200].into_iter();
    let bursts = bursts.flat_map(|round_trip| [20, 60, 120].map(|over| burst(round_trip, over)));
    play(&bursts.chain([SHORT_LINES, busy_room(10)]).collect::<Vec<_>>());
}

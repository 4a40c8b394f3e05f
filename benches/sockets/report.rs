//! The tables of results, in Markdown.

use std::fmt::Write;

use crate::contestants::Contestant;
use crate::figures::{Figures, Flood, SceneFigures, Series};
use crate::plan::{Cell, FLOODED};
use crate::requests::Measured;
use support::flood::clients::Measured as FloodMeasured;

/// A cell for which nothing was measured.
const NOTHING: &str = "–";

/// Returns all tables.
pub(crate) fn tables(figures: &Figures) -> String {
    let mut text = format!("{}; medians of {} rounds\n", figures.machine, figures.rounds);
    for scene in &figures.scenes {
        put_scene(&mut text, scene);
    }
    put_floods(&mut text, &figures.floods);
    put_memory(&mut text, figures);
    put_busy(&mut text, figures);
    put_drops(&mut text, figures);
    put_failures(&mut text, &figures.failures);
    text
}

fn put_scene(text: &mut String, scene: &SceneFigures) {
    let floor = match scene.contestants.iter().any(|contestant| contestant.is_floor()) {
        true => "the best floor",
        false => "the first line",
    };
    put_table(
        text,
        &format!("{}: server CPU per delivery in µs (ratio to {floor})", scene.name),
        scene,
        Some(&|contestant| match scene.writes(contestant) {
            Some(writes) => writes.to_string(),
            None => NOTHING.to_owned(),
        }),
        |series, yardstick| {
            let ratio = series.ratio(yardstick, Measured::cpu_micros);
            format!("{:.2} ({ratio:.2})", series.median(Measured::cpu_micros))
        },
    );
    if scene.contestants.iter().any(|contestant| contestant.offers_deflate()) {
        put_table(
            text,
            &format!("{}: bytes on the wire, ratio to plain (part compressed)", scene.name),
            scene,
            None,
            |series, _| {
                let ratio = series.median(|measured| measured.wire_part(series.cell));
                let compressed = series.median(Measured::compressed_part) * 1e2;
                format!("{ratio:.3} ({compressed:.0} %)")
            },
        );
    }
    put_table(text, &format!("{}: deliveries, 1,000/s", scene.name), scene, None, |series, _| {
        format!("{:.0}", series.median(Measured::rate) / 1e3)
    });
    put_table(
        text,
        &format!("{}: latency p50 / p99 / p99.9, ms", scene.name),
        scene,
        None,
        |series, _| {
            let [p50, p99, p999] = [
                series.median(|measured| measured.p50 as f64),
                series.median(|measured| measured.p99 as f64),
                series.median(|measured| measured.p999 as f64),
            ]
            .map(|nanos| nanos / 1e6);
            format!("{p50:.2} / {p99:.2} / {p999:.2}")
        },
    );
    put_failures(text, &scene.failures);
}

fn put_failures(text: &mut String, failures: &[(Contestant, String)]) {
    for (contestant, failure) in failures {
        let _ = writeln!(text, "\n{} dropped out at {failure}", contestant.title());
    }
}

/// Writes a table with a line for each contestant and a column for each cell. With `writes`, another column shows what
/// the contestant's writes used.
fn put_table(
    text: &mut String,
    title: &str,
    scene: &SceneFigures,
    writes: Option<&dyn Fn(Contestant) -> String>,
    show: impl Fn(&Series, &Series) -> String,
) {
    let heads = scene.cells.iter().map(Cell::to_string);
    let writes_head = writes.map(|_| "writes".to_owned());
    put_row(text, std::iter::once(title.to_owned()).chain(heads).chain(writes_head));
    put_rule(text, scene.cells.len() + usize::from(writes.is_some()));
    for &contestant in &scene.contestants {
        let cell = |&cell: &Cell| match (scene.series(contestant, cell), scene.yardstick(cell)) {
            (Some(series), Some(yardstick)) => show(series, yardstick),
            _ => NOTHING.to_owned(),
        };
        let cells = scene.cells.iter().map(cell);
        let cells = cells.chain(writes.map(|writes| writes(contestant)));
        put_row(text, std::iter::once(contestant.title().to_owned()).chain(cells));
    }
}

fn put_floods(text: &mut String, floods: &[Flood]) {
    if floods.is_empty() {
        return;
    }
    let heads = [
        FLOODED,
        "tasks",
        "echo of another room, median of the rounds' medians, ms",
        "slowest echo of all rounds, ms",
        "deliveries, 1,000/s",
        "server CPU per delivery in µs (ratio to the floor)",
        "dropped, %",
    ];
    put_row(text, heads.map(str::to_owned));
    put_rule(text, heads.len() - 1);
    for flood in floods {
        put_row(
            text,
            [title_of(flood.contestant), flood.tasks.to_string()]
                .into_iter()
                .chain(measured_cells(flood, floods)),
        );
    }
}

fn measured_cells(flood: &Flood, floods: &[Flood]) -> [String; 5] {
    let cost = flood.median(FloodMeasured::cpu_micros);
    let ratio = flood.ratio(floods).map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
    [
        format!("{:.2}", flood.median(|measured| measured.echo_median.as_secs_f64()) * 1e3),
        format!("{:.1}", flood.echo_worst().as_secs_f64() * 1e3),
        format!("{:.0}", flood.median(FloodMeasured::rate) / 1e3),
        if flood.tasks > 0 { format!("{cost:.3}{ratio}") } else { "–".to_owned() },
        format!("{:.2}", flood.median(FloodMeasured::dropped_part) * 1e2),
    ]
}

fn put_memory(text: &mut String, figures: &Figures) {
    let Some(first) = figures.memory.first() else { return };
    let title = format!("{} idle connections", first.connections);
    put_row(text, [title, "resident KiB per connection".to_owned()]);
    put_rule(text, 1);
    for memory in &figures.memory {
        let kibibytes = format!("{:.2}", memory.bytes_each / 1_024.0);
        put_row(text, [title_of(memory.contestant), kibibytes]);
    }
}

fn put_busy(text: &mut String, figures: &Figures) {
    let Some(first) = figures.busy.first() else { return };
    let title = format!("{} connections, {} rooms", first.connections, first.rooms);
    let heads = [&title, "resident MiB, empty", "connected", "with traffic"];
    put_row(text, heads.map(ToString::to_string));
    put_rule(text, heads.len() - 1);
    for busy in &figures.busy {
        let mebibytes = |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let figures = [busy.empty, busy.connected, busy.busy].map(mebibytes);
        put_row(text, std::iter::once(title_of(busy.contestant)).chain(figures));
    }
}

fn put_drops(text: &mut String, figures: &Figures) {
    let Some(first) = figures.drops.first() else { return };
    let title = format!("{} clients drop at once", first.dropped);
    put_row(
        text,
        [&title, "new clients served meanwhile", "the slowest, ms"].map(ToString::to_string),
    );
    put_rule(text, 2);
    for drops in &figures.drops {
        let slowest = format!("{:.1}", drops.slowest.as_secs_f64() * 1e3);
        put_row(text, [title_of(drops.contestant), drops.served.to_string(), slowest]);
    }
}

fn title_of(contestant: Contestant) -> String {
    contestant.title().to_owned()
}

/// Writes a line of a table.
pub(crate) fn put_row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// Writes the rule below the head, and an empty line above the head, which separates the table from the one before.
pub(crate) fn put_rule(text: &mut String, columns: usize) {
    let head = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    text.insert(head, '\n');
    let _ = writeln!(text, "|---|{}", "---:|".repeat(columns));
}

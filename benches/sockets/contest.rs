//! The contest: starts servers and their clients, and lets them take turns.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::contestants::Contestant;
use crate::figures::{Drops, Figures, SceneFigures, Series};
use crate::pair::Pair;
use crate::plan::{self, Cell, FLOODED, Scene};
use crate::requests::{Answer, Load, Request};
use crate::{Error, Options, Result, flooded, memory};
use support::network::Network;

/// The number of connections that are dropped at once.
const DROPPED: usize = 8_000;

/// The time for which new clients connect meanwhile.
const WATCH_FOR: Duration = Duration::from_secs(2);

/// Plays all scenes.
pub(crate) fn play(options: &Options) -> Result<Figures> {
    let scenes = scenes(options);
    let others = Others::new(options);
    let steps = |contestants: &[_], cells| contestants.len() * (1 + options.rounds() * cells);
    let all = scenes.iter().map(|scene| steps(&scene.contestants, scene.cells.len()));
    let flooded = steps(&others.flooders, plan::FLOODS.len());
    let progress = Progress::new(options, all.sum::<usize>() + flooded + others.single_steps());
    let mut figures =
        Figures { machine: machine(), rounds: options.rounds(), ..Figures::default() };
    for scene in &scenes {
        figures.scenes.extend(play_scene(scene, options, &progress)?);
        options.save(&figures)?;
    }
    others.play(options, &progress, &mut figures);
    progress.0.finish_and_clear();
    Ok(figures)
}

/// The scenes with servers that serve their clients in turns.
fn scenes(options: &Options) -> Vec<Scene> {
    let mut scenes = plan::fan_out();
    if options.asks_for(plan::COMPRESSION) {
        scenes.extend(plan::compression());
    }
    if options.short {
        scenes.iter_mut().for_each(Scene::shorten);
    } else {
        scenes.extend([plan::shards(), plan::paused(), plan::fronts()]);
        scenes.extend(plan::threads());
        scenes.extend(plan::away());
    }
    scenes.retain_mut(|scene| {
        scene.contestants.retain(|&contestant| options.takes_part(contestant));
        scene.cells.retain(|cell| options.measures(cell));
        options.shows(scene.name) && !scene.contestants.is_empty() && !scene.cells.is_empty()
    });
    scenes
}

/// The contestants of the other measurements.
struct Others {
    flooders: Vec<Contestant>,
    idlers: Vec<Contestant>,
    crowded: Vec<Contestant>,
    droppers: Vec<Contestant>,
}

impl Others {
    fn new(options: &Options) -> Self {
        let shown = |scene, mut contestants: Vec<Contestant>| {
            let is_shown = options.shows(scene) && !options.short;
            contestants.retain(|&contestant| is_shown && options.takes_part(contestant));
            contestants
        };
        let mut others = Self {
            flooders: shown(FLOODED, plan::flooders()),
            idlers: shown("idle connections", plan::idlers()),
            crowded: Vec::new(),
            droppers: shown("all drop at once", plan::droppers()),
        };
        if options.asks_for(plan::COMPRESSION) {
            others.idlers.extend(shown("compression: idle connections", plan::compressors()));
            others.crowded.extend(shown("compression: many rooms", plan::compressors()));
        }
        others
    }

    /// The number of measurements that are made once.
    fn single_steps(&self) -> usize {
        self.idlers.len() + self.crowded.len() + self.droppers.len()
    }

    fn play(self, options: &Options, progress: &Progress, figures: &mut Figures) {
        flood_all(&self.flooders, options, progress, figures);
        let (idle, duration) = (options.idle, options.duration());
        let count_idle = |contestant| memory::count_idle(contestant, idle);
        figures.memory = each(self.idlers, "idle connections", progress, figures, count_idle);
        let count_busy = |contestant| memory::count_busy(contestant, idle, duration);
        figures.busy = each(self.crowded, "many rooms", progress, figures, count_busy);
        figures.drops = each(self.droppers, "all drop at once", progress, figures, drop_all);
    }
}

/// Measures each contestant once. Adds the failures to `figures`.
fn each<T>(
    contestants: Vec<Contestant>,
    what: &str,
    progress: &Progress,
    figures: &mut Figures,
    measure: impl Fn(Contestant) -> Result<T>,
) -> Vec<T> {
    let mut measured = Vec::new();
    for contestant in contestants {
        progress.step(format!("{what}: {}", contestant.title()));
        match measure(contestant) {
            Ok(figure) => measured.push(figure),
            Err(error) => figures.failures.push((contestant, format!("{what}: {error}"))),
        }
    }
    measured
}

/// Plays a scene. Returns `None` if the scene needs a network that this machine does not allow.
fn play_scene(
    scene: &Scene,
    options: &Options,
    progress: &Progress,
) -> Result<Option<SceneFigures>> {
    let network = match scene.link {
        None => None,
        Some(link) => match Network::lay_or_skip(&vec![link; scene.members]) {
            None => return Ok(None),
            network => network,
        },
    };
    let mut teams = Vec::new();
    for &contestant in &scene.contestants {
        progress.step(format!("{}: connecting {}", scene.name, contestant.title()));
        teams.push(Team::join(contestant, scene, network.as_ref())?);
    }
    for round in 0..options.rounds() {
        // Each round begins with a different contestant.
        teams.rotate_left(1);
        for (number, &cell) in scene.cells.iter().enumerate() {
            for team in &mut teams {
                let title = team.contestant.title();
                progress.step(format!("{}: round {}, {cell}, {title}", scene.name, round + 1));
                team.play(number, cell, options.duration())?;
            }
        }
    }
    let Scene { name, contestants, cells, .. } = scene.clone();
    teams.sort_by_key(|team| contestants.iter().position(|&other| other == team.contestant));
    let (mut series, mut writes, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for team in teams {
        series.extend(team.series);
        match team.pair {
            Ok(mut pair) => writes.push((team.contestant, pair.writes()?)),
            Err(failure) => failures.push((team.contestant, failure)),
        }
    }
    Ok(Some(SceneFigures { name, contestants, cells, series, writes, failures }))
}

/// A contestant in a scene.
struct Team {
    contestant: Contestant,
    /// The running processes, or the failure. A failure ends the processes, so that they take no time from others.
    pair: Result<Pair, String>,
    /// The series of each cell.
    series: Vec<Series>,
}

impl Team {
    fn join(contestant: Contestant, scene: &Scene, network: Option<&Network>) -> Result<Self> {
        let new = |&cell| Series { contestant, cell, rounds: Vec::new() };
        let series = scene.cells.iter().map(new).collect();
        let pair = match contestant.obstacle() {
            Some(obstacle) => Err(format!("the start: {obstacle}")),
            None => match Pair::connected(contestant, network, scene.rooms, scene.members) {
                Ok(pair) => Ok(pair),
                Err(error) => Err(failure(contestant, "connecting", error)?),
            },
        };
        Ok(Self { contestant, pair, series })
    }

    /// Measures one cell once.
    fn play(&mut self, number: usize, cell: Cell, duration: Duration) -> Result<()> {
        let Ok(pair) = &mut self.pair else { return Ok(()) };
        let load = Load { in_flight: cell.in_flight, bytes: cell.bytes, duration };
        match pair.measure(load) {
            Ok(measured) => self.series[number].rounds.push(measured),
            Err(error) => self.pair = Err(failure(self.contestant, &cell.to_string(), error)?),
        }
        Ok(())
    }
}

/// The failure of a contestant; the others continue. The failure of a floor is an error that ends the benchmark.
fn failure(contestant: Contestant, at: &str, error: Error) -> Result<String> {
    if contestant.is_floor() { Err(error) } else { Ok(format!("{at}: {error}")) }
}

fn flood_all(
    contestants: &[Contestant],
    options: &Options,
    progress: &Progress,
    figures: &mut Figures,
) {
    if contestants.is_empty() {
        return;
    }
    let join = |&contestant: &Contestant| {
        progress.step(format!("{FLOODED}: connecting {}", contestant.title()));
        flooded::Team::join(contestant)
    };
    let mut teams: Vec<_> = contestants.iter().map(join).collect();
    for round in 1..=options.rounds() {
        // Each round begins with a different contestant.
        teams.rotate_left(1);
        for (number, tasks) in plan::FLOODS.iter().enumerate() {
            for team in &mut teams {
                let title = team.contestant.title();
                progress.step(format!("{FLOODED}: round {round}, {tasks} tasks, {title}"));
                team.play(number, options.duration());
            }
        }
    }
    teams.sort_by_key(|team| contestants.iter().position(|&other| other == team.contestant));
    for team in teams {
        let contestant = team.contestant;
        match team.finish() {
            Ok(floods) => figures.floods.extend(floods),
            Err(error) => figures.failures.push((contestant, format!("{FLOODED}: {error}"))),
        }
    }
}

fn drop_all(contestant: Contestant) -> Result<Drops> {
    let mut pair = Pair::connected(contestant, None, 1, DROPPED)?;
    match pair.load.ask(&Request::Drop { watch_for: WATCH_FOR })? {
        Answer::Dropped { served, slowest } => {
            Ok(Drops { contestant, dropped: DROPPED, served, slowest })
        }
        answer => Err(format!("not an answer to a drop: {answer:?}").into()),
    }
}

/// The processor, its cores and the kernel, for the head of a report.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or("unknown processor", |model| model.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

struct Progress(ProgressBar);

impl Progress {
    fn new(options: &Options, steps: usize) -> Self {
        if !options.progress {
            return Self(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} to go: {msg}");
        Self(ProgressBar::new(steps as u64).with_style(style.expect("the template is valid")))
    }

    fn step(&self, what: String) {
        self.0.set_message(what);
        self.0.inc(1);
    }
}

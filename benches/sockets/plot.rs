//! A picture of what a delivery costs.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::contestants::Contestant;
use crate::figures::{Figures, SceneFigures};
use crate::load::Measured;

const SCENE_HEIGHT: u32 = 330;
const WIDTH: u32 = 1_000;

/// Draws a chart of each scene, one below the other.
pub(crate) fn draw(figures: &Figures, file: &Path) -> Result<()> {
    let scenes = &figures.scenes;
    let size = (WIDTH, SCENE_HEIGHT * scenes.len().max(1) as u32);
    let canvas = SVGBackend::new(file, size).into_drawing_area();
    canvas.fill(&WHITE)?;
    for (scene, area) in scenes.iter().zip(canvas.split_evenly((scenes.len().max(1), 1))) {
        draw_scene(scene, &area)?;
    }
    canvas.present()?;
    Ok(())
}

/// A group of bars for each cell, a bar for each contestant, on a logarithmic scale.
fn draw_scene(scene: &SceneFigures, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let costs = scene.series.iter().map(|series| series.median(Measured::cpu_micros));
    let (least, most) =
        costs.fold((f64::MAX, 0.0_f64), |(least, most), cost| (least.min(cost), most.max(cost)));
    let group = scene.contestants.len() + 1;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: µs of server CPU per delivery", scene.name), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .right_y_label_area_size(250)
        .build_cartesian_2d(
            0.0..(group * scene.cells.len()) as f64,
            (least / 1.5..most * 1.5).log_scale(),
        )?;
    let cell_at = |x: f64| scene.cells.get((x / group as f64) as usize);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * scene.cells.len() + 1)
        .x_label_formatter(&|x| cell_at(*x).map_or(String::new(), ToString::to_string))
        .draw()?;
    for (index, &contestant) in scene.contestants.iter().enumerate() {
        let color = color(contestant);
        let bars = scene.cells.iter().enumerate().filter_map(|(number, &cell)| {
            let cost = scene.series(contestant, cell)?.median(Measured::cpu_micros);
            let left = (number * group + index) as f64 + 0.5;
            Some(Rectangle::new([(left, least / 1.5), (left + 0.9, cost)], color.filled()))
        });
        chart
            .draw_series(bars)?
            .label(contestant.title())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(WIDTH as i32 - 300, 20))
        .draw()?;
    Ok(())
}

fn color(contestant: Contestant) -> RGBColor {
    match contestant {
        Contestant::Floor1 => RGBColor(190, 190, 190),
        Contestant::Floor2 => RGBColor(140, 140, 140),
        Contestant::Roomcast => RGBColor(200, 40, 40),
        Contestant::RoomcastJson => RGBColor(235, 130, 110),
        Contestant::RoomcastTwoShards => RGBColor(130, 20, 60),
        Contestant::RoomcastLossy => RGBColor(220, 90, 40),
        Contestant::RoomcastPaused => RGBColor(150, 60, 30),
        Contestant::Axum => RGBColor(50, 100, 180),
        Contestant::Fastwebsockets => RGBColor(60, 150, 90),
        Contestant::Socketioxide => RGBColor(150, 90, 170),
    }
}

//! Charts of the cost of a delivery.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::contestants::Contestant;
use crate::figures::{Figures, SceneFigures};
use crate::requests::Measured;

const SCENE_HEIGHT: u32 = 330;
const WIDTH: u32 = 1_000;

/// The width of the legend, on the right of the chart.
const LEGEND_WIDTH: u32 = 270;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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
fn draw_scene(scene: &SceneFigures, area: &Area<'_>) -> Result<()> {
    let costs = scene.series.iter().map(|series| series.median(Measured::cpu_micros));
    let (least, most) =
        costs.fold((f64::MAX, 0.0_f64), |(least, most), cost| (least.min(cost), most.max(cost)));
    let group = scene.contestants.len() + 1;
    let floor = least / 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("{}: µs of server CPU per delivery, logarithmic", scene.name),
            ("sans-serif", 18),
        )
        .margin(10)
        .margin_right(LEGEND_WIDTH)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(
            0.0..(group * scene.cells.len()) as f64,
            (floor..most * 1.5).log_scale(),
        )?;
    chart.configure_mesh().disable_x_mesh().x_labels(0).draw()?;
    for (number, &cell) in scene.cells.iter().enumerate() {
        let left = (number * group) as f64 + 0.5;
        let bars = scene.contestants.iter().enumerate().filter_map(|(index, &contestant)| {
            let cost = scene.series(contestant, cell)?.median(Measured::cpu_micros);
            let corners = [(left + index as f64, floor), (left + index as f64 + 0.9, cost)];
            Some(Rectangle::new(corners, color(contestant).filled()))
        });
        chart.draw_series(bars)?;
        let (x, y) = chart.backend_coord(&(left + group as f64 / 2.0 - 0.5, floor));
        let (base_x, base_y) = area.get_base_pixel();
        let style = ("sans-serif", 13).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(cell.to_string(), (x - base_x, y - base_y + 8), style))?;
    }
    draw_legend(scene, area)
}

fn draw_legend(scene: &SceneFigures, area: &Area<'_>) -> Result<()> {
    let left = (WIDTH - LEGEND_WIDTH + 15) as i32;
    for (line, &contestant) in scene.contestants.iter().enumerate() {
        let top = 50 + 20 * line as i32;
        let square = [(left, top), (left + 11, top + 11)];
        area.draw(&Rectangle::new(square, color(contestant).filled()))?;
        area.draw(&Text::new(contestant.title(), (left + 18, top), ("sans-serif", 13)))?;
    }
    Ok(())
}

fn color(contestant: Contestant) -> RGBColor {
    match contestant {
        Contestant::Floor1 => RGBColor(190, 190, 190),
        Contestant::Floor2 => RGBColor(140, 140, 140),
        Contestant::Floor3 => RGBColor(90, 90, 90),
        Contestant::Roomcast => RGBColor(200, 40, 40),
        Contestant::RoomcastJson => RGBColor(235, 130, 110),
        Contestant::RoomcastJsonSend => RGBColor(250, 190, 170),
        Contestant::RoomcastJsonThreads => RGBColor(200, 90, 160),
        Contestant::RoomcastTwoShards => RGBColor(130, 20, 60),
        Contestant::RoomcastLossy => RGBColor(220, 90, 40),
        Contestant::RoomcastPaused => RGBColor(150, 60, 30),
        Contestant::RoomcastShared => RGBColor(170, 110, 20),
        Contestant::RoomcastSharedByTwo => RGBColor(120, 80, 20),
        Contestant::RoomcastOnce => RGBColor(220, 170, 60),
        Contestant::RoomcastUnasked => RGBColor(240, 200, 140),
        Contestant::Yawc => RGBColor(40, 140, 140),
        Contestant::NodeWs => RGBColor(70, 110, 50),
        Contestant::NodeWsAlone => RGBColor(150, 190, 110),
        Contestant::Axum => RGBColor(50, 100, 180),
        Contestant::AxumJoined => RGBColor(120, 170, 225),
        Contestant::Fastwebsockets => RGBColor(60, 150, 90),
        Contestant::RoomcastAxum => RGBColor(70, 130, 200),
        Contestant::RoomcastTls => RGBColor(20, 60, 110),
        Contestant::Socketioxide => RGBColor(150, 90, 170),
    }
}

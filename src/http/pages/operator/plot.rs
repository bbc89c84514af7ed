//! Plots as SVG in the page: drawn by a library in three colours that stand for roles, which become
//! classes, so that the style sheet colours them in both themes. No style, no script, no font.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::http::Problem;

/// A picture's size; it is scaled to the page.
const SIZE: (u32, u32) = (320, 180);
const TEXT: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const SERIES: RGBColor = RGBColor(3, 3, 3);

/// What a plot shows of a day: the day, and its value.
pub(super) type Point = (String, i64);

/// What values are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Sat,
    /// Of a hundred, all of which is shown.
    Percent,
}

/// Draws values by day; `says` tells who cannot see it what it shows.
pub(super) fn draw(unit: Unit, points: &[Point], says: &str) -> Result<String, Problem> {
    let mut svg = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        chart(&root, unit, points).and_then(|()| root.present().map_err(|error| error.to_string()))
    };
    drawn.map_err(|error| {
        tracing::error!(error, "a plot cannot be drawn");
        Problem::internal()
    })?;
    Ok(dressed(&svg, says))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn chart(root: &Area<'_>, unit: Unit, points: &[Point]) -> Result<(), String> {
    let count = i32::try_from(points.len()).unwrap_or(i32::MAX);
    let values = points.iter().map(|(_, value)| *value);
    let (low, high) = (values.clone().min().unwrap_or(0).min(0), values.max().unwrap_or(0));
    let high = match unit {
        // Room above, and something to see when there is nothing.
        Unit::Sat => (high + high / 10).max(4),
        Unit::Percent => 100,
    };
    let value = |value: &i64| match unit {
        Unit::Sat => short(*value),
        Unit::Percent => format!("{value} %"),
    };
    let mut chart = ChartBuilder::on(root)
        .margin(6)
        .margin_right(12)
        .x_label_area_size(24)
        .y_label_area_size(46)
        .build_cartesian_2d(0..count, low..high)
        .map_err(|error| error.to_string())?;
    let label = ("sans-serif", 13).into_font().color(&TEXT);
    let day = |place: &i32| {
        let point = usize::try_from(*place).ok().and_then(|place| points.get(place));
        point.map(|(day, _)| day.get(5..).unwrap_or_default().to_owned()).unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(label)
        .x_labels(5)
        .x_label_formatter(&day)
        .y_labels(5)
        .y_label_formatter(&value)
        .draw()
        .map_err(|error| error.to_string())?;
    let places = (0..).zip(points.iter().map(|(_, value)| *value));
    let bars = places.filter(|(_, value)| *value != 0).map(|(place, value)| {
        let mut bar = Rectangle::new([(place, 0), (place + 1, value)], SERIES.filled());
        bar.set_margin(0, 0, 2, 2);
        bar
    });
    chart.draw_series(bars).map(drop).map_err(|error| error.to_string())
}

/// A number that fits beside an axis: `12k`, `3.4M`.
fn short(value: i64) -> String {
    let size = value.abs();
    for (unit, name) in [(1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")] {
        if size >= unit {
            let tenths = value / (unit / 10);
            let tenth = (tenths % 10).abs();
            let whole = tenths / 10;
            return match tenth {
                0 => format!("{whole}{name}"),
                _ => format!("{whole}.{tenth}{name}"),
            };
        }
    }
    value.to_string()
}

/// Colours become classes; the picture gets its words.
fn dressed(svg: &str, says: &str) -> String {
    let mut out = svg.to_owned();
    for (colour, class) in [("010101", "text"), ("020202", "grid"), ("030303", "series")] {
        for side in ["fill", "stroke"] {
            let role = format!("class=\"plot-{side}-{class}\"");
            out = out.replace(&format!("{side}=\"#{colour}\""), &role);
        }
    }
    let says = says.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let place = format!("<svg class=\"plot\" role=\"img\" aria-label=\"{says}\" ");
    out.replacen("<svg ", &place, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[i64]) -> Vec<Point> {
        (1..).zip(values).map(|(n, value)| (format!("2026-11-{n:02}"), *value)).collect()
    }

    #[test]
    fn a_plot_has_no_colour_style_or_script_of_its_own() {
        for unit in [Unit::Sat, Unit::Percent] {
            for values in [&[0, 12_000, 3, -40][..], &[0, 0], &[]] {
                let svg = draw(unit, &points(values), "a \"b\" & <c>").unwrap();
                assert!(svg.starts_with("<svg class=\"plot\" role=\"img\" aria-label=\"a &quot;b"));
                for word in ["style", "script", "#0", "href"] {
                    assert!(!svg.contains(word), "{word} in {svg}");
                }
                assert!(svg.contains("plot-fill-text"), "{svg}");
            }
        }
    }

    #[test]
    fn numbers_beside_an_axis_are_short() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1000, "1k"), (12_345, "12.3k"), (-2_500_000, "-2.5M")]
        {
            assert_eq!(short(value), text);
        }
    }
}

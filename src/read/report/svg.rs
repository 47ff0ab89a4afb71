//! Charts as SVG, drawn here: no script, no font and no file from elsewhere, so that a report reads the same on paper.

use std::fmt::Write as _;

use super::format::escaped;

/// One bar: what stands under it, what stands beside it, how long it is.
pub struct Bar {
    pub label: String,
    /// The exact figure, shown when it is pointed at, and written where there is room.
    pub figure: String,
    pub value: f64,
}

/// Widths of charts that stand alone, and of two side by side: in the pixels that they are mostly shown at.
pub const WHOLE: f64 = 760.0;
pub const HALF: f64 = 370.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 22.0;
/// What the text of a tick takes from above to below.
const TICK: f64 = 12.0;
/// What a label under the bars takes.
const LABEL: f64 = 86.0;

/// Bars from left to right over time, with an axis that holds zero. `axis` writes a value of the axis.
pub fn columns(width: f64, title: &str, color: &str, bars: &[Bar], axis: &dyn Fn(f64) -> String) -> String {
    let high = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let low = bars.iter().map(|bar| bar.value).fold(0.0, f64::min);
    let (low, high) = (rounded(low), if high == low { 1.0 } else { rounded(high) });
    let y = |value: f64| TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(title, width, HEIGHT);
    let mut marks = vec![high, 0.0];
    if low < 0.0 && y(low) - y(0.0) > TICK {
        marks.push(low);
    }
    if high > 0.0 {
        marks.push(high / 2.0);
    }
    for mark in marks {
        let (at, text) = (y(mark), escaped(&axis(mark)));
        let class = if mark == 0.0 { "axis" } else { "grid" };
        let _ = write!(
            svg,
            r#"<line class="{class}" x1="{LEFT}" x2="{width}" y1="{at:.1}" y2="{at:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
            LEFT - 6.0,
            at + 3.5,
        );
    }
    let step = (width - LEFT) / bars.len().max(1) as f64;
    let thick = (step * 0.78).min(36.0);
    for (index, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.value != 0.0) {
        let x = LEFT + step * (index as f64 + 0.5) - thick / 2.0;
        let (top, bottom) = (y(bar.value.max(0.0)), y(bar.value.min(0.0)));
        let _ = write!(
            svg,
            r#"<rect x="{x:.2}" y="{top:.1}" width="{thick:.2}" height="{:.1}" fill="{color}"><title>{}: {}</title></rect>"#,
            bottom - top,
            escaped(&bar.label),
            escaped(&bar.figure),
        );
    }
    let room = ((width - LEFT) / LABEL).max(1.0) as usize;
    let every = bars.len().div_ceil(room).max(1);
    for (index, bar) in bars.iter().enumerate().step_by(every) {
        let x = LEFT + step * (index as f64 + 0.5);
        let anchor = if x + LABEL / 2.0 > width { "end" } else { "middle" };
        let x = if anchor == "end" { width } else { x };
        let _ = write!(
            svg,
            r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            HEIGHT - 6.0,
            escaped(&bar.label),
        );
    }
    svg.push_str("</svg>");
    svg
}

const ROW: f64 = 24.0;
const NAME: f64 = 124.0;
const FIGURE: f64 = 96.0;
const ROWS_WIDTH: f64 = HALF;
/// Characters of a name that have room.
const NAME_CHARS: usize = 16;

/// Bars from the top down, each with its name and its figure; the longest fills the width.
pub fn rows(title: &str, color: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let mut svg = open(title, ROWS_WIDTH, ROW * bars.len().max(1) as f64);
    for (index, bar) in bars.iter().enumerate() {
        let y = ROW * index as f64;
        let room = ROWS_WIDTH - NAME - FIGURE;
        let width = if longest > 0.0 { (bar.value / longest * room).max(0.0) } else { 0.0 };
        let _ = write!(
            svg,
            r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect x="{NAME}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="{color}"><title>{}: {}</title></rect><text class="figure" x="{:.1}" y="{:.1}">{}</text>"#,
            NAME - 8.0,
            y + 16.0,
            escaped(&shortened(&bar.label)),
            y + 5.0,
            ROW - 10.0,
            escaped(&bar.label),
            escaped(&bar.figure),
            NAME + width + 6.0,
            y + 16.0,
            escaped(&bar.figure),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn open(title: &str, width: f64, height: f64) -> String {
    let title = escaped(title);
    format!(
        r#"<svg role="img" aria-label="{title}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"><title>{title}</title>"#
    )
}

fn shortened(name: &str) -> String {
    match name.chars().count() > NAME_CHARS {
        true => name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// The next number away from zero that reads well: 1, 2, 2.5, 5 or 10 times a power of ten.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let power = 10f64.powf(value.abs().log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value.abs()).unwrap_or(10.0);
    (step * power).copysign(value)
}

//! Line plots as SVG, made here so that a report needs nothing else. Colours are classes, which the page
//! gives their values for light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 272.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 46.0;
/// Lines that can be told apart by their colours.
pub(super) const COLOURS: usize = 8;

/// A plot.
#[derive(Debug, Default)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What a reader should know to read it.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// A place on the x axis with a name, such as the end of the warm-up.
    pub(super) marks: Vec<(f64, String)>,
}

/// A line.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How an axis is divided.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from 0 or below.
    #[default]
    Even,
    /// By powers of ten.
    Powers,
    /// By how little is left of a whole: 50, 90, 99, 99.9 %.
    Nines,
}

/// An axis.
#[derive(Debug, Default)]
pub(super) struct Axis {
    pub(super) unit: String,
    pub(super) scale: Scale,
}

/// An axis with its ends, in the units of its scale.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Span {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(|value| placed(axis.scale, value)).filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match axis.scale {
            Scale::Even => {
                low = low.min(0.0);
                high = if high <= low { low + 1.0 } else { high };
            }
            Scale::Powers => {
                low = low.floor();
                high = high.ceil().max(low + 1.0);
            }
            Scale::Nines => {
                low = 0.0;
                high = high.max(2.0);
            }
        }
        Self { scale: axis.scale, low, high }
    }

    /// From 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((placed(self.scale, value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Values and what is written beside them.
    fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Even => {
                let step = round_step((self.high - self.low) / most as f64);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|n| (n as f64 * step, short(n as f64 * step))).collect()
            }
            Scale::Powers => {
                let (low, high) = (self.low as i32, self.high as i32);
                (low..=high).map(|power| (10_f64.powi(power), short(10_f64.powi(power)))).collect()
            }
            Scale::Nines => {
                let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
                let inside =
                    names.iter().enumerate().filter(|(n, _)| *n as f64 <= self.high + 1e-9);
                inside.map(|(n, name)| (1.0 - 10_f64.powi(-(n as i32)), (*name).into())).collect()
            }
        }
    }
}

/// Where a value is on its scale.
fn placed(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Even => value,
        Scale::Powers => value.max(1e-3).log10(),
        Scale::Nines => -(1.0 - value).max(1e-7).log10(),
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.max(1e-9).log10().floor());
    let of = wanted / power;
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| of <= step + 1e-9).unwrap_or(10.0);
    step * power
}

/// A number for an axis.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        medium if medium >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text that may stand in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Plot {
    /// The plot with its title, legend and note; nothing when there is nothing to show.
    pub(super) fn figure(&self) -> String {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let (title, unit) = (escaped(&self.title), escaped(&self.y.unit));
        let mut figure = format!("<figure><figcaption>{title} <small>{unit}</small></figcaption>");
        figure += "<p class=\"legend\">";
        for (place, line) in self.lines.iter().enumerate() {
            let colour = place % COLOURS;
            // Writing to a string cannot fail.
            let _ =
                write!(figure, "<span><i class=\"b{colour}\"></i>{}</span> ", escaped(&line.name));
        }
        figure += "</p>";
        figure += &self.svg();
        if !self.note.is_empty() {
            let _ = write!(figure, "<p class=\"note\">{}</p>", escaped(&self.note));
        }
        figure + "</figure>\n"
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Span::of(&self.x, points().map(|point| point.0));
        let y = Span::of(&self.y, points().map(|point| point.1));
        let across = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
        let up = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title)
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, name) in y.ticks(5) {
            let at = up(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        for (value, name) in x.ticks(8) {
            let at = across(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
                bottom + 18.0
            );
        }
        for (value, name) in &self.marks {
            let at = across(*value);
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at + 4.0,
                TOP + 11.0,
                escaped(name)
            );
        }
        for (place, line) in self.lines.iter().enumerate() {
            let at = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", across(*x), up(*y));
            let path: Vec<String> = line.points.iter().map(at).collect();
            let colour = place % COLOURS;
            let _ = write!(svg, "<polyline class=\"c{colour}\" points=\"{}\"/>", path.join(" "));
        }
        let _ = write!(
            svg,
            "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text></svg>",
            HEIGHT - 4.0,
            escaped(&self.x.unit)
        );
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_numbers_short() {
        assert!((round_step(0.7) - 1.0).abs() < 1e-9);
        assert!((round_step(13.0) - 20.0).abs() < 1e-9);
        assert!((round_step(0.03) - 0.05).abs() < 1e-9);
        assert_eq!(
            [short(0.25), short(1_500.0), short(2e6), short(0.0)],
            ["0.25", "1.5k", "2M", "0"]
        );
    }

    #[test]
    fn a_percentile_axis_is_divided_by_nines() {
        let axis = Axis { unit: String::new(), scale: Scale::Nines };
        let span = Span::of(&axis, [0.5, 0.999].into_iter());
        let names: Vec<String> = span.ticks(8).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %"]);
        assert!((span.share(0.9) - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn an_even_axis_shows_its_ends_and_what_is_empty_is_left_out() {
        let span = Span::of(&Axis::default(), [3.0, 10.0].into_iter());
        assert_eq!(span.ticks(5).first().map(|tick| tick.1.clone()).as_deref(), Some("0"));
        assert_eq!(span.ticks(5).last().map(|tick| tick.1.clone()).as_deref(), Some("10"));
        assert!(Plot::default().figure().is_empty());
    }

    #[test]
    fn names_cannot_break_the_page() {
        let line = Line { name: "<b>&\"".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let figure = Plot { lines: vec![line], ..Plot::default() }.figure();
        assert!(figure.contains("&lt;b&gt;&amp;&quot;") && !figure.contains("<b>"));
    }
}

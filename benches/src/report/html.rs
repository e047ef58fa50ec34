//! The report as one page that needs nothing else: plots over time, percentiles, the table, what the
//! checker found, and the machine. No script, no font, no address; it follows the reader's choice of
//! light or dark and fits a phone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plot::{Axis, Line, Plot, Scale, escaped};
use super::{Report, Second};
use crate::load::tally::Step;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let title = format!("parlance-load: {}", report.scenario);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>\n<h1>{}</h1>\n",
        escaped(&title),
        escaped(&report.scenario)
    );
    page += &verdict(report);
    page += &tiles(report);
    for plot in plots(report) {
        page += &plot.figure();
    }
    page += "<h2>Figures</h2><div class=\"wide\"><table>\n";
    for (name, value) in report.rows() {
        let (name, value) = (escaped(&name), escaped(&value));
        // Writing to a string cannot fail.
        let _ = writeln!(page, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    page += "</table></div>\n";
    page += &machine(report);
    page + "</main></body></html>\n"
}

/// Whether the run counts, and why not.
fn verdict(report: &Report) -> String {
    let (class, text) = match &report.check {
        Some(check) if !check.violations.is_empty() => {
            ("bad", format!("{} promises broken", check.violations.len()))
        }
        _ if !report.is_good() => ("bad", "This run does not count; the table says why".into()),
        Some(check) => {
            let looked = &check.looked;
            let of = format!("{} acked, {} received", looked.acked, looked.received);
            ("good", format!("Every promise was kept: {of}, {} logged", looked.logged))
        }
        None => ("plain", "The promises were not checked (--check)".into()),
    };
    let mut verdict = format!("<p class=\"verdict {class}\">{}</p>\n", escaped(&text));
    if let Some(check) = report.check.as_ref().filter(|check| !check.violations.is_empty()) {
        verdict += "<ul>";
        for violation in check.violations.iter().take(20) {
            let _ = write!(verdict, "<li>{}</li>", escaped(violation));
        }
        verdict += "</ul>\n";
    }
    verdict
}

/// The few figures that a reader looks for first.
fn tiles(report: &Report) -> String {
    let mut tiles: Vec<(String, String)> = Vec::new();
    for fact in report.facts.iter().take(6) {
        tiles.push((fact.name.clone(), super::table::value(fact)));
    }
    for step in report.steps.iter().take(4) {
        let ms = format!("{:.1} / {:.1} ms", step.latency.p50_ms, step.latency.p99_ms);
        tiles.push((format!("{} p50 / p99", step.name), ms));
    }
    if report.deliveries > 0 {
        let rate = report.deliveries as f64 / report.seconds.max(1e-3);
        let name = if report.reads_pages() { "events in pages" } else { "deliveries" };
        tiles.push((name.into(), format!("{rate:.0}/s")));
    }
    for server in &report.servers {
        if let Some(us) = server.cpu_us_per_delivery {
            tiles.push((
                format!("CPU {}, {}", report.of_each(), server.name),
                format!("{us:.2} µs"),
            ));
        }
    }
    let mut text = "<div class=\"tiles\">".to_owned();
    for (name, value) in tiles {
        let (name, value) = (escaped(&name), escaped(&value));
        let _ = write!(text, "<div><b>{value}</b><span>{name}</span></div>");
    }
    text + "</div>\n"
}

fn plots(report: &Report) -> Vec<Plot> {
    let mut plots = vec![
        latency_over_time(report),
        percentiles(report),
        throughput(report),
        cpu(report),
        memory(report),
    ];
    for plot in plots.iter_mut().filter(|plot| plot.x.unit.starts_with("seconds")) {
        if report.series.first().is_some_and(|second| second.second < 0) {
            plot.marks.push((0.0, "measured from here".into()));
        }
        plot.marks.extend(report.marks.iter().cloned());
    }
    plots
}

fn over_time(title: &str, unit: &str, scale: Scale, lines: Vec<Line>) -> Plot {
    let x = Axis { unit: "seconds of the run".into(), scale: Scale::Even };
    let y = Axis { unit: unit.into(), scale };
    let lines = lines.into_iter().filter(|line| line.points.iter().any(|point| point.1 > 0.0));
    Plot { title: title.into(), x, y, lines: lines.collect(), ..Plot::default() }
}

fn latency_over_time(report: &Report) -> Plot {
    let mut lines: BTreeMap<(Step, usize), Vec<(f64, f64)>> = BTreeMap::new();
    let names = ["p50", "p99", "max"];
    for second in &report.series {
        for step in &second.steps {
            for (name, ms) in [step.p50_ms, step.p99_ms, step.max_ms].into_iter().enumerate() {
                // Many kinds of latency in one plot are told apart by one line each.
                if report.steps.len() > 2 && names[name] != "p99" {
                    continue;
                }
                lines.entry((step.step, name)).or_default().push((at(second), ms));
            }
        }
    }
    let line = |((step, name), points): ((Step, usize), Vec<(f64, f64)>)| Line {
        name: format!("{} {}", step.name(), names[name]),
        points,
    };
    let lines = lines.into_iter().map(line).collect();
    let mut plot = over_time("Latency over time", "ms", Scale::Powers, lines);
    plot.note = "Each second's latencies, in the second in which they ended. They count from the \
                 instant at which the thing was due."
        .into();
    plot
}

fn at(second: &Second) -> f64 {
    second.second as f64
}

fn percentiles(report: &Report) -> Plot {
    let line = |step: &super::StepReport| {
        // The longest of so many is where the axis ends, and not at the end of all numbers.
        let last = 1.0 - 0.5 / step.latency.count.max(1) as f64;
        let points = step.points.iter().map(|point| (point.quantile.min(last), point.ms));
        Line { name: step.name.clone(), points: points.collect() }
    };
    Plot {
        title: "Latency by percentile".into(),
        note: "The measured time as a whole. 99 % means that one of 100 took longer.".into(),
        x: Axis { unit: "percentile".into(), scale: Scale::Nines },
        y: Axis { unit: "ms".into(), scale: Scale::Powers },
        lines: report.steps.iter().map(line).collect(),
        marks: Vec::new(),
    }
}

fn throughput(report: &Report) -> Plot {
    let line = |name: &str, of: fn(&Second) -> u64| Line {
        name: name.into(),
        points: report.series.iter().map(|second| (at(second), of(second) as f64)).collect(),
    };
    let done = match report.scenario.as_str() {
        "churn" => "visits",
        "history" => "pages",
        _ => "sessions back",
    };
    let delivered = if report.reads_pages() { "events in pages" } else { "deliveries" };
    let lines = vec![
        line(delivered, |second| second.deliveries),
        line("acks", |second| second.acked),
        line(done, |second| second.done),
        line("refused for now", |second| second.refused_for_now),
    ];
    over_time("Throughput", "in a second", Scale::Even, lines)
}

fn cpu(report: &Report) -> Plot {
    let mut lines: Vec<Line> = report
        .servers
        .iter()
        .enumerate()
        .map(|(place, server)| Line {
            name: format!("{} ({})", server.name, server.pid),
            points: points(report, |second| second.cpu_percent.get(place).copied()),
        })
        .collect();
    lines.push(Line {
        name: "generator".into(),
        points: points(report, |second| Some(second.generator_cpu_percent)),
    });
    let mut plot = over_time("Processor time", "% of a core", Scale::Even, lines);
    plot.note =
        format!("Each process with its children; the machine has {} cores.", report.machine.cores);
    plot
}

fn memory(report: &Report) -> Plot {
    let line = |(place, server): (usize, &super::ServerUse)| Line {
        name: format!("{} ({})", server.name, server.pid),
        points: points(report, |second| {
            second.rss_bytes.get(place).map(|bytes| *bytes as f64 / (1024.0 * 1024.0))
        }),
    };
    let lines = report.servers.iter().enumerate().map(line).collect();
    over_time("Resident memory", "MiB", Scale::Even, lines)
}

fn points(report: &Report, of: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
    report.series.iter().filter_map(|second| Some((at(second), of(second)?))).collect()
}

/// Where it took place, with which programs and arguments.
fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let gib = machine.memory_bytes as f64 / (1024.0 * 1024.0 * 1024.0);
    let mut lines = vec![
        format!(
            "{}, {} cores, {gib:.1} GiB, Linux {}",
            machine.processor, machine.cores, machine.kernel
        ),
        machine.generator.clone(),
    ];
    lines.extend(machine.servers.iter().cloned());
    lines.push(format!("parlance-load {}", machine.arguments.join(" ")));
    lines.push(format!(
        "warm-up {:.1} s, measured {:.1} s, ended at Unix time {}",
        report.warm_up_seconds, report.seconds, machine.ended_unix
    ));
    let mut text = "<h2>Machine and programs</h2><ul class=\"machine\">".to_owned();
    for line in lines {
        let _ = write!(text, "<li>{}</li>", escaped(&line));
    }
    text + "</ul>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Check, Latency, Point, StepReport, StepSecond};

    fn report() -> Report {
        let step = StepReport {
            step: Step::Ack,
            name: "ack".into(),
            latency: Latency::default(),
            points: vec![Point { quantile: 0.5, ms: 1.0 }, Point { quantile: 0.99, ms: 4.0 }],
        };
        let second = |second| Second {
            second,
            deliveries: 100,
            steps: vec![StepSecond {
                step: Step::Ack,
                count: 1,
                p50_ms: 1.0,
                p99_ms: 2.0,
                max_ms: 3.0,
            }],
            ..Second::default()
        };
        let series = (-1..5).map(second).collect();
        Report { scenario: "fanout".into(), steps: vec![step], series, ..Report::default() }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&report());
        assert_eq!(page.matches("<svg").count(), 3, "latency twice, and throughput");
        for foreign in ["http:", "https:", "<script", "url(", "@import", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn broken_promises_are_the_first_thing_that_is_said() {
        let check =
            Check { looked: crate::checker::Looked::default(), violations: vec!["<x>".into()] };
        let page = page(&Report { check: Some(check), ..report() });
        let (verdict, figure) = (page.find("1 promises broken"), page.find("<figure"));
        assert!(verdict.is_some() && verdict < figure);
        assert!(page.contains("&lt;x&gt;"));
    }
}

//! Micro-benchmarks of the server's parts, by criterion's clock and by callgrind's count.
//!
//! `make bench-micro` times them. `make bench-check` runs this under callgrind, which counts the
//! instructions of each part's rounds alone, and compares with `benches/baseline.json`.

mod chat;
mod directory;
mod frames;
mod hub;
mod lane;
mod outbox;
mod part;
mod room;
mod sample;
mod socket;
mod wire;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use metrics_exporter_prometheus::PrometheusBuilder;
use parlance_benches::instructions::{self, Request};

use part::{PARTS, Part};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Cargo adds `--bench` to what it was given.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    // What the server counts of itself is a part of its cost.
    PrometheusBuilder::new().install_recorder().expect("the only recorder");
    match words.split_first() {
        Some((verb, names)) if verb == instructions::COUNT => count(names),
        Some((verb, rest)) if verb == "check" => check(rest),
        _ => time(),
    }
}

/// Runs parts under callgrind; its names, or all of them; see [`instructions::COUNT`].
fn count(names: &[String]) -> ExitCode {
    for entry in
        PARTS.iter().filter(|entry| names.is_empty() || names.iter().any(|name| name == entry.name))
    {
        let mut part = (entry.make)();
        for _ in 0..entry.rounds {
            part.prepare();
            part.run();
        }
        for _ in 0..entry.rounds {
            part.prepare();
            counted_round(&mut *part);
        }
        end_of_part(entry.name);
        println!("{} {}", entry.name, entry.rounds * entry.operations);
    }
    ExitCode::SUCCESS
}

/// Callgrind counts while this runs, and finds it by its name ([`instructions::ROUND`]).
#[inline(never)]
fn counted_round(part: &mut dyn Part) {
    part.run();
}

/// Callgrind writes down what it counted when this begins ([`instructions::END`]).
#[inline(never)]
fn end_of_part(name: &str) {
    black_box(name);
}

fn check(words: &[String]) -> ExitCode {
    let request = match Request::parse(words) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("bench-check: {why}");
            return ExitCode::from(2);
        }
    };
    match instructions::check(&request) {
        Ok(report) => {
            print!("{report}");
            if report.is_worse() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("bench-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn time() -> ExitCode {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for entry in PARTS.iter().filter(|entry| entry.timed) {
        let mut group = criterion.benchmark_group("parts");
        group.throughput(Throughput::Elements(entry.operations));
        let mut part = None;
        group.bench_function(entry.name, |bencher| {
            // Made when it is asked for: a filter leaves most of them out.
            let part = part.get_or_insert_with(entry.make);
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    part.prepare();
                    let begun = std::time::Instant::now();
                    part.run();
                    spent += begun.elapsed();
                }
                spent
            });
        });
        group.finish();
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}

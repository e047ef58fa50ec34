//! Looks once a second at what processes use, on a thread of its own, so that reading /proc does not
//! delay a message.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::process::{Tree, Used};

/// What was used in one second.
#[derive(Debug, Clone)]
pub struct Sample {
    /// It ended so many seconds after the first measured instant.
    pub second: i64,
    /// Of each server process, in percent of a core.
    pub cpu_percent: Vec<f64>,
    /// Of each server process, at its end.
    pub rss_bytes: Vec<u64>,
    /// Of the generator with its children.
    pub own_percent: f64,
}

/// The thread.
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Looks at whole seconds before and after `measure`, from now on.
    #[must_use]
    pub fn start(servers: &[Tree], measure: Instant, warm_up: Duration) -> Self {
        let (stop, stopped) = channel();
        let servers = servers.to_vec();
        let first = -i64::try_from(warm_up.as_secs()).unwrap_or(0);
        let thread = std::thread::spawn(move || look(&servers, measure, first, &stopped));
        Self { stop, thread }
    }

    /// Ends, and gives what was seen.
    #[must_use]
    pub fn end(self) -> Vec<Sample> {
        // A thread that is gone already has nothing to be told.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn look(servers: &[Tree], measure: Instant, first: i64, stop: &Receiver<()>) -> Vec<Sample> {
    let mut trees = servers.to_vec();
    trees.push(Tree { pid: std::process::id() });
    let mut samples = Vec::new();
    let mut before: Option<(Instant, Vec<Used>)> = None;
    for second in first.. {
        let distance = Duration::from_secs(second.unsigned_abs());
        let at = if second < 0 { measure.checked_sub(distance) } else { Some(measure + distance) };
        let pause = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        // What is over already is looked at whether it is to end or not.
        if !pause.is_zero() && !matches!(stop.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            break;
        }
        // A process that is gone uses nothing; the run itself says that it is gone.
        let used: Vec<Used> = trees.iter().map(|tree| tree.used().unwrap_or_default()).collect();
        let now = Instant::now();
        if let Some((then, earlier)) = before {
            let seconds = now.duration_since(then).as_secs_f64().max(1e-3);
            let percent = |(now, then): (&Used, &Used)| {
                now.cpu.saturating_sub(then.cpu).as_secs_f64() / seconds * 100.0
            };
            let mut cpu_percent: Vec<f64> = used.iter().zip(&earlier).map(percent).collect();
            let own_percent = cpu_percent.pop().unwrap_or_default();
            let rss_bytes = used[..servers.len()].iter().map(|used| used.rss_bytes).collect();
            samples.push(Sample { second, cpu_percent, rss_bytes, own_percent });
        }
        before = Some((now, used));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_looks_at_once_and_ends_when_told() {
        let own = Tree { pid: std::process::id() };
        let measure = Instant::now();
        let samples = Sampler::start(&[own], measure, Duration::from_secs(2)).end();
        // The seconds before the measured time are over already and are looked at without a pause.
        let seconds: Vec<i64> = samples.iter().map(|sample| sample.second).take(2).collect();
        assert_eq!(seconds, [-1, 0], "{samples:?}");
        assert!(samples.iter().all(|sample| sample.rss_bytes[0] > 100_000));
    }
}

//! The table for people.

use std::fmt::Write as _;

use super::{Check, Fact, Latency, Report, ServerUse};

impl Report {
    /// The rows of the table: a name and what there is to say.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        row("scenario", self.scenario.clone());
        row(
            "nodes, rooms, sockets, accounts",
            format!("{}, {}, {}, {}", self.nodes, self.rooms, self.sockets, self.accounts),
        );
        if self.processes > 1 {
            row("processes of the generator", self.processes.to_string());
        }
        if let Some(attack) = &self.attack {
            row("attack", attack.kind.clone());
            row(
                "its connections opened, not opened, ended",
                format!("{}, {}, {}", attack.opened, attack.not_opened, attack.ended),
            );
            row("its pieces written", attack.written.to_string());
            for (status, count) in &attack.answers {
                row(&format!("its answers with {status}"), count.to_string());
            }
        }
        self.facts.iter().for_each(|fact| row(&fact.name, value(fact)));
        if self.rate > 0.0 {
            row("messages/s asked for", format!("{:.0} of {} bytes", self.rate, self.body_bytes));
        }
        if self.deliveries > 0 {
            let rate = self.deliveries as f64 / self.seconds.max(1e-3);
            let name = if self.reads_pages() { "events in pages" } else { "deliveries" };
            row(name, format!("{} in {:.1} s, {rate:.0}/s", self.deliveries, self.seconds));
        }
        for step in &self.steps {
            row(&format!("{} p50/p90/p99/p99.9/max ms", step.name), latency(&step.latency));
        }
        for server in &self.servers {
            let name = format!("{} ({}, {} processes)", server.name, server.pid, server.processes);
            row(&name, used(server, self.of_each()));
            row("  its system calls", syscalls(server, self.of_each()));
        }
        let messages = self.rate * self.seconds;
        for (name, count) in
            self.counted.iter().filter(|(_, count)| messages > 0.0 && **count > 0.0)
        {
            let name = name.trim_start_matches("parlance_");
            row(name, format!("{count:.0}, {:.2} for each message", count / messages));
        }
        row("generator", format!("{:.2} s CPU", self.generator_cpu_seconds));
        self.outcome(&mut row);
        rows
    }

    fn outcome(&self, row: &mut impl FnMut(&str, String)) {
        let counts = &self.counts;
        row(
            "acked, repeated, refused",
            format!("{}, {}, {}", counts.acked, counts.refused_for_now, counts.refused_for_good),
        );
        row("gaps, lost sockets", format!("{}, {}", counts.gaps, counts.lost_sockets));
        if counts.slow_parses > 0 {
            row("frames of an unusual layout", counts.slow_parses.to_string());
        }
        if let Some(why) = &counts.first_loss {
            row("first lost socket", why.clone());
        }
        if !counts.settled {
            row("NOT SETTLED", "acks or deliveries are missing".into());
        }
        match &self.check {
            None => row("promises", "not checked".into()),
            Some(check) if check.violations.is_empty() => row("promises", kept(check)),
            Some(check) => {
                row("PROMISES BROKEN", check.violations.len().to_string());
                for violation in check.violations.iter().take(10) {
                    row("", violation.clone());
                }
            }
        }
    }

    /// The table as text.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<width$}  {value}");
        }
        table
    }
}

fn kept(check: &Check) -> String {
    let looked = &check.looked;
    format!("kept ({} acked, {} received, {} logged)", looked.acked, looked.received, looked.logged)
}

fn used(server: &ServerUse, each: &str) -> String {
    let per =
        server.cpu_us_per_delivery.map_or_else(String::new, |us| format!(", {us:.2} µs {each}"));
    let memory = server.rss_bytes as f64 / (1024.0 * 1024.0);
    format!("{:.2} s CPU{per}, {memory:.1} MiB resident", server.cpu_seconds)
}

fn syscalls(server: &ServerUse, each: &str) -> String {
    match (server.syscalls, server.syscalls_per_delivery) {
        (Some(calls), Some(per)) => format!("{calls}, {per:.2} {each}"),
        (Some(calls), None) => calls.to_string(),
        (None, _) => server.syscalls_unmeasured.clone().unwrap_or_else(|| "not measured".into()),
    }
}

/// With as many digits as say something.
pub(super) fn value(fact: &Fact) -> String {
    let digits = match fact.value.abs() {
        large if large >= 1_000.0 || large.fract() == 0.0 => 0,
        medium if medium >= 10.0 => 1,
        _ => 3,
    };
    format!("{:.digits$} {}", fact.value, fact.unit).trim_end().to_owned()
}

fn latency(latency: &Latency) -> String {
    format!(
        "{:.1} / {:.1} / {:.1} / {:.1} / {:.1}",
        latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_digits_that_say_something() {
        assert_eq!(value(&Fact::new("a", 12_345.6, "events/s")), "12346 events/s");
        assert_eq!(value(&Fact::new("a", 0.1937, "ms")), "0.194 ms");
        assert_eq!(value(&Fact::new("a", 20.26, "%")), "20.3 %");
        assert_eq!(value(&Fact::new("a", 3.0, "")), "3");
    }

    #[test]
    fn the_table_says_what_is_not_measured_and_not_checked() {
        let servers = vec![ServerUse::default()];
        let table = Report { servers, ..Report::default() }.table();
        assert!(table.contains("not measured") && table.contains("not checked"), "{table}");
        assert!(table.contains("NOT SETTLED"));
    }
}

//! What nodes count, read from their `/metrics`. It knows the lines of Prometheus' text form and
//! not what they mean.

use std::collections::BTreeMap;

use anyhow::Context;
use parlance_client::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::limits;

/// The value of each series, by its name with its labels as they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted(BTreeMap<String, f64>);

impl Counted {
    /// Reads the text form. Series that are there twice are added up.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if let Ok(value) = value.parse::<f64>() {
                *all.0.entry(series.to_owned()).or_default() += value;
            }
        }
        all
    }

    /// A series, or everything of this name whatever its labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.0.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }

    fn add(&mut self, other: Self) {
        for (series, value) in other.0 {
            *self.0.entry(series).or_default() += value;
        }
    }
}

/// What one node counts.
///
/// # Errors
/// When it does not answer, or not with its metrics.
pub async fn read(server: &Server) -> anyhow::Result<Counted> {
    let mut stream = server.connect().await?;
    let host = server.authority();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("asking for metrics")?;
    let mut answer = String::new();
    let read = stream.take(limits::METRICS_BYTES_MAX).read_to_string(&mut answer).await;
    read.context("reading metrics")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "no metrics at {host}: {status}");
    Ok(Counted::parse(body))
}

/// What several nodes count, added up.
///
/// # Errors
/// As [`read`], of the first that fails.
pub async fn read_all(servers: &[Server]) -> anyhow::Result<Counted> {
    let mut all = Counted::default();
    for server in servers {
        all.add(read(server).await?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_and_names_are_added_up() {
        let text = "# TYPE a_total counter\na_total{way=\"in\"} 2\na_total{way=\"out\"} 3\n\
                    a_total_of_others 100\n\nb 0.5\n";
        let mut counted = Counted::parse(text);
        assert!((counted.sum("a_total") - 5.0).abs() < 1e-9, "{counted:?}");
        assert!((counted.sum("a_total{way=\"out\"}") - 3.0).abs() < 1e-9, "{counted:?}");
        assert!(counted.sum("c").abs() < 1e-9, "{counted:?}");
        counted.add(Counted::parse("b 1\n"));
        assert!((counted.sum("b") - 1.5).abs() < 1e-9, "{counted:?}");
    }
}

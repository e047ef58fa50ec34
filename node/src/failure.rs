//! How a command ends when it cannot do its work: one clear message on standard error and an
//! exit code by which scripts can tell the causes apart.

use std::fmt;
use std::process::ExitCode;

use crate::config::Faults;

/// The table of exit codes, as `parlance --help` shows it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done; for serve: ended in order after SIGTERM or SIGINT
  1   the configuration is wrong; every fault is named
  2   the command line is wrong
  3   the data directory cannot be used: locked, damaged, its disk full or broken, or its
      permissions are wrong
  4   the address cannot be listened on
  5   the database cannot be used: not reachable, refused, or of another cluster
  6   anything else; the message says what
  128+n  ended at once by a second signal n";

/// Why a command failed, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The configuration is wrong.
    Configuration = 1,
    /// The data directory cannot be used.
    DataDirectory = 3,
    /// The address cannot be listened on.
    Address = 4,
    /// The database cannot be used.
    Database = 5,
    /// Anything else.
    Other = 6,
}

/// A command that did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    what: String,
}

impl Failure {
    /// A failure with what to do about it. A cause that spans lines is put on one.
    pub(crate) fn new(cause: Cause, what: impl Into<String>) -> Self {
        let what = what.into();
        let lines = what.lines().map(str::trim).filter(|line| !line.is_empty());
        Self { cause, what: lines.collect::<Vec<_>>().join("; ") }
    }

    /// Prints the message and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("parlance: {self}");
        ExitCode::from(self.cause as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<Faults> for Failure {
    /// The one failure that has several lines: a fault a line.
    fn from(faults: Faults) -> Self {
        Self { cause: Cause::Configuration, what: format!("wrong configuration\n{faults}") }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Cause::Other, format!("{error:#}"))
    }
}

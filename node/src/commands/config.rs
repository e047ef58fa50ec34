//! `parlance config check|show|example|names`: looks, and starts nothing.

use clap::Subcommand;

use super::print;
use crate::Settings;
use crate::config;
use crate::failure::Failure;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Name everything that is wrong, all at once; exit code 1 if anything is.
    Check(Settings),
    /// Print the effective values and where each came from, without secrets.
    Show(Settings),
    /// Print a documented file with every default.
    Example,
    /// Print every name that the environment may set.
    Names,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Check(settings) => {
            let loaded = config::load(&settings.flags(), true)?;
            match &loaded.file {
                Some(file) => print(&format!("configuration is right (file {})\n", file.display())),
                None => print("configuration is right (no file)\n"),
            }
        }
        Action::Show(settings) => print(&config::show(&config::load(&settings.flags(), true)?)),
        Action::Example => print(&config::example()),
        Action::Names => print(&config::environment_names()),
    }
}

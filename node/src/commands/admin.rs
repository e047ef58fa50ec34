//! `parlance admin create|reset-password`: for who lost the first password, or wants another
//! administrator. With SQLite the node must not run; with PostgreSQL it may.

use clap::Subcommand;

use crate::assemble;
use crate::config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::{Settings, first_admin};

/// What to do with an account.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make one more administrator; the generated password is shown once.
    Create {
        /// The account's name.
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Give an account a new generated password, shown once, and end all of its sign-ins.
    ResetPassword {
        /// The account's name.
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    let (Action::Create { name, settings } | Action::ResetPassword { name, settings }) = action;
    let config = config::load(&settings.flags(), true)?.config;
    let data_dir = match config.database.url {
        None => Some(DataDir::open(&config.data_dir)?),
        Some(_) => None,
    };
    let folder = data_dir.as_ref().map(DataDir::database);
    let cost = assemble::password_cost(&config);
    super::small_runtime()?.block_on(async {
        let storage = assemble::open_storage(&config, folder.as_deref()).await?;
        let accounts = storage.accounts();
        let done = match action {
            Action::Create { .. } => first_admin::create(&*accounts, name, cost).await,
            Action::ResetPassword { .. } => {
                first_admin::reset_password(&*accounts, name, cost).await
            }
        };
        storage.history().close().await;
        done
    })
}

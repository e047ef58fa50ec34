//! What the domain needs from the world: the traits that `storage`, `cluster` and `gateway`
//! implement. Each has one conformance suite in `testkit` (a feature).

pub mod accounts;
pub mod directory;
pub mod frames;
pub mod history;
pub mod members;

pub use accounts::{AccountError, Accounts};
pub use directory::{Directory, DirectoryError};
pub use frames::Frames;
pub use history::{History, HistoryError};
pub use members::Members;

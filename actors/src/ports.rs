//! What the domain needs from the world: the traits that `storage`, `cluster` and `gateway`
//! implement. Each has one conformance suite in `testkit` (a feature).

pub mod accounts;
pub mod cluster;
pub mod directory;
pub mod frames;
pub mod history;
pub mod members;
pub mod peers;

pub use accounts::{AccountError, Accounts};
pub use cluster::Cluster;
pub use directory::{Directory, DirectoryError};
pub use frames::Frames;
pub use history::{History, HistoryError};
pub use members::Members;
pub use peers::{Inbox, Peers};

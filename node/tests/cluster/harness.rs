//! What the cluster's tests share: hosts, bad weather, nodes, and a fleet of them under load.

pub(crate) mod fleet;
pub(crate) mod losses;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod scene;
pub(crate) mod weather;

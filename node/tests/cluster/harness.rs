//! What the cluster's tests share: hosts, bad weather, nodes, and a fleet of them under load, with
//! crowds that only listen.

pub(crate) mod aside;
pub(crate) mod crowd;
pub(crate) mod databases;
pub(crate) mod disk;
pub(crate) mod door;
pub(crate) mod fleet;
pub(crate) mod holds;
pub(crate) mod losses;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod scene;
pub(crate) mod weather;

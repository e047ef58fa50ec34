//! The real binary, driven from outside: killed, stopped, cut off from its database, and then
//! checked against the promises. Every process is ended by its own handle, every port is free.

mod cluster;
#[path = "../town/collector.rs"]
mod collector;
mod conversation;
mod crash;
mod harness;
mod outage;
mod shutdown;
#[path = "../town/town.rs"]
mod town;

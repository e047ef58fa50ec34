//! The binary `parlance` from the outside: what it prints, writes, answers and refuses.

mod api;
mod cert;
mod cluster;
#[path = "../town/collector.rs"]
mod collector;
mod commands;
mod config;
mod mentions;
mod serve;
mod support;
mod traces;

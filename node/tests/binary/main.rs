//! The binary `parlance` from the outside: what it prints, writes, answers and refuses.

mod api;
mod cert;
mod cluster;
mod commands;
mod config;
mod serve;
mod support;

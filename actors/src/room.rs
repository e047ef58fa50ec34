//! A room: one log, one order. `state` decides, `actor` performs.

pub(crate) mod actor;
pub mod fold;
mod generation;
mod opening;
pub(crate) mod permit;
mod ring;
pub mod state;
pub mod words;

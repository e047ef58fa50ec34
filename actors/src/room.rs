//! A room: one log, one order. `state` decides, `actor` performs.

pub mod fold;

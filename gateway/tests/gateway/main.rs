//! The gateway as clients meet it: the real server on a free port, over in-memory ports.

mod harness;

mod sign_in;

mod browser;
mod cluster;
mod cors;
mod errors;
mod front_door;
mod resources;
mod socket;
mod tokens;
mod web;

//! The gateway as clients meet it: the real server on a free port, over in-memory ports.

mod harness;

mod sign_in;

mod attacks;
mod browser;
mod certificates;
mod cluster;
mod cors;
mod ends;
mod errors;
mod front_door;
mod http2;
mod preamble;
mod profiles;
mod redirect;
mod reference;
mod resources;
mod socket;
mod tokens;
mod web;

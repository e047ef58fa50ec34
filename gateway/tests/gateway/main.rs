//! The gateway as clients meet it: the real server on a free port, over in-memory ports.

mod harness;

mod sign_in;

mod attacks;
mod certificates;
mod http2;
mod preamble;
mod redirect;

mod cluster;
mod errors;
mod front_door;
mod resources;
mod socket;

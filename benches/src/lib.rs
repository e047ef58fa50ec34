//! What measures and checks a running server from outside: the load generator's parts and the
//! promises' checker. It knows the wire and nothing of the server's inside.

pub mod across;
pub mod args;
pub mod attack;
pub mod buffer;
pub mod checker;
pub mod glance;
pub mod http1;
pub mod instructions;
pub mod lean;
pub mod limits;
pub mod load;
pub mod metrics;
pub mod others;
pub mod process;
pub mod report;
pub mod sampler;
pub mod setup;
pub mod syscalls;
pub mod witness;

//! What measures and checks a running server from outside: the load generator's parts and the
//! promises' checker. It knows the wire and nothing of the server's inside.

pub mod checker;

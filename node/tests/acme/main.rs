//! Certificates by ACME: the binary against a server that checks what it is sent and looks for itself.

mod node;
mod orders;
mod server;

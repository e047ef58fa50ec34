//! Links: QUIC between nodes, always with mutual TLS from the cluster's own authority.
//!
//! A node has two endpoints: the *control* endpoint here ([`ControlLinks`]: calls of Raft and
//! packets of gossip), and the *data* endpoint ([`crate::peers`]: frames of actors). Both are made
//! of the same parts: an [`Identity`] from files that may change while it is in use, a hello after
//! each handshake, and one dial at a time to a place. A link knows nothing of what it carries.

mod accept;
mod control;
mod endpoint;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hello;
mod identity;
mod line;
mod passages;
mod protocols;
mod refusals;
mod relay;
mod tls;
mod way;

#[cfg(test)]
pub(crate) mod tests;

pub use control::{ControlLink, ControlLinks, Packet};
pub use endpoint::{BindError, LinkOptions, Names};
pub(crate) use endpoint::{Close, DialError, LinkEndpoint, Linked, socket, transport};
pub use hello::Hello;
pub(crate) use hello::Purpose;
pub use identity::{Identity, IdentityError, IdentityFiles};
pub(crate) use line::{LASTING, pause};
pub(crate) use protocols::{Protocols, Version};
pub(crate) use relay::Neighbours;

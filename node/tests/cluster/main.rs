//! Real nodes on machines of their own, cut off, stopped, killed and moved under load, and then
//! checked against the promises. The machines are network namespaces, so these tests need root.

mod alone;
mod figures;
mod harness;
mod kills;
mod moves;
mod outages;
mod repeats;
mod splits;
mod stops;
mod storms;
mod tools;
#[path = "../town/town.rs"]
mod town;

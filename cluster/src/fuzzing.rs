//! The decoders of what nodes say to each other, as links, gossip and the directory call them, for the
//! fuzz targets in `cluster/fuzz`. They add nothing to them, and are in no build of the node.

pub use crate::directory::fuzzing::{answer, call, snapshot_body};
pub use crate::gossip::fuzzing::{Gossip, packet_header};
pub use crate::link::fuzzing::{hello, opening};
pub use crate::peers::fuzzing::{FrameCutter, frame_header, stop_round, stream_header};

//! What nodes say to each other, as rkyv archives: the layout belongs to the ALPN
//! `parlance-actor/1`. Nothing here decides.

pub(crate) mod presence;

//! Who was refused lately, so that a log says it once a minute and not at every dial.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use parking_lot::Mutex;

use crate::limits::{REFUSALS_EVERY, REFUSALS_MAX};

/// The refusals of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    logged: Mutex<HashMap<(IpAddr, &'static str), Instant>>,
}

impl Refusals {
    /// Whether to log a refusal of this kind, of this address, now.
    pub(crate) fn say(&self, address: IpAddr, kind: &'static str, now: Instant) -> bool {
        let mut logged = self.logged.lock();
        if logged.len() >= REFUSALS_MAX {
            logged.retain(|_, at| now.duration_since(*at) < REFUSALS_EVERY);
        }
        match logged.get(&(address, kind)) {
            Some(at) if now.duration_since(*at) < REFUSALS_EVERY => false,
            None if logged.len() >= REFUSALS_MAX => false,
            _ => {
                logged.insert((address, kind), now);
                true
            }
        }
    }
}

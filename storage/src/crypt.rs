//! At-rest encryption of bodies. Off: bodies are stored as they are.

/// Seals and opens the bodies of events.
#[derive(Debug, Clone, Default)]
pub struct Crypt {}

/// A stored body that this node's keys do not open.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a stored body is sealed with key {0}, which this node does not have")]
pub struct NotOpened(pub i32);

impl Crypt {
    /// No key: bodies are stored as they are.
    #[must_use]
    pub const fn off() -> Self {
        Self {}
    }

    /// The key's id (`None` while off) and the stored form of a body.
    #[must_use]
    pub fn seal(&self, _aad: &[u8], body: &[u8]) -> (Option<i32>, Vec<u8>) {
        (None, body.to_vec())
    }

    /// The body of its stored form.
    ///
    /// # Errors
    /// [`NotOpened`] when it was sealed with a key that is not here.
    pub fn open(
        &self,
        key_id: Option<i32>,
        _aad: &[u8],
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, NotOpened> {
        key_id.map_or(Ok(stored), |id| Err(NotOpened(id)))
    }
}

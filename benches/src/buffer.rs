//! The receive buffer of one socket: bytes come in at its end and are taken from its front. It is made
//! at the first read, moves what is left only when it is full, and is given back when it was large.

use crate::limits;

/// Bytes that were received and not taken yet.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    taken: usize,
}

impl Buffer {
    /// Takes what `split` finds at the front: a piece, and how many bytes it took.
    ///
    /// # Errors
    /// Those of `split`; nothing is taken then.
    pub fn take<'a, T, E>(
        &'a mut self,
        split: impl FnOnce(&'a [u8]) -> Result<Option<(T, usize)>, E>,
    ) -> Result<Option<T>, E> {
        let Some((piece, took)) = split(&self.bytes[self.taken..self.filled])? else {
            return Ok(None);
        };
        debug_assert!(took <= self.filled - self.taken, "only what is there can be taken");
        self.taken += took;
        Ok(Some(piece))
    }

    /// Bytes were read into the space.
    pub fn add(&mut self, count: usize) {
        debug_assert!(count <= self.bytes.len() - self.filled, "only the space can be filled");
        self.filled += count;
    }

    /// Where the next bytes go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
            if self.bytes.len() > limits::BUFFER_KEEP_BYTES {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; limits::BUFFER_BYTES];
        }
        if self.filled == self.bytes.len() {
            if self.taken > 0 {
                self.bytes.copy_within(self.taken..self.filled, 0);
                self.filled -= self.taken;
                self.taken = 0;
            } else {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        &mut self.bytes[self.filled..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_in_order_whatever_the_pieces() {
        let all: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let (mut buffer, mut put, mut got) = (Buffer::default(), 0, Vec::new());
        let mut step = 1;
        while got.len() < all.len() {
            let space = buffer.space();
            let count = space.len().min(all.len() - put);
            space[..count].copy_from_slice(&all[put..put + count]);
            buffer.add(count);
            put += count;
            step = (step * 7 + 3) % 5_003;
            let taken = buffer.take(|held| {
                let count = held.len().min(step);
                Ok::<_, ()>(Some((&held[..count], count)))
            });
            got.extend_from_slice(taken.expect("no error").expect("some bytes"));
        }
        assert_eq!(got, all);
    }
}

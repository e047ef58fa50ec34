//! What nodes say to each other about presence and users' own feeds, as rkyv archives. The layout
//! belongs to the ALPN `parlance-actor/1`. Nothing here decides.
//!
//! A frame is checked in this order: its length, its layout (`bytecheck`), then every count and
//! number in it.

use bytes::Bytes;
use rkyv::rancor;
use uuid::Uuid;

use crate::limits::{PRESENCE_BATCH_MAX, PRESENCE_FRAME_BYTES_MAX, PRESENCE_WORDS_BATCH_MAX};
use crate::ports::peers::Malformed;
use crate::session::PresenceStatus;
use crate::vocab::{Role, RoomId, Seq, SessionId, TenantId, UserId};

/// One frame. A *home* is the node that holds a user shard together; `shard` is the last byte of
/// the id of each user in the frame.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) enum PresenceFrame {
    /// To a home: these are all my users of the shard on this channel, and all whom I watch;
    /// forget what I said before. In parts when it is long: the first and the last are marked.
    Whole { shard: u8, first: bool, last: bool, present: Vec<WirePresent>, watched: Vec<WireUser> },
    /// To a home that was told everything: what changed since. A user without sessions is offline.
    Change { shard: u8, present: Vec<WirePresent>, watch: Vec<WireUser>, unwatch: Vec<WireUser> },
    /// From a home, to a node that watches: how these users are seen now.
    Tells { shard: u8, tells: Vec<WirePresent> },
    /// From a home that lost what it knew: tell me everything. Answered by [`PresenceFrame::Whole`],
    /// an empty one by a node that has its home elsewhere.
    Ask { shard: u8 },
    /// To a home: tell the other nodes that have sessions of these users.
    Carry { shard: u8, words: Vec<WireWord> },
    /// From a home, to a node that has sessions of these users.
    Deliver { words: Vec<WireWord> },
    /// To every node: the user was disabled or signed out everywhere.
    EndSessions { user: WireUser },
}

/// A user of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireUser {
    tenant: u32,
    user: [u8; 16],
}

/// A user and their status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WirePresent {
    user: WireUser,
    status: u8,
}

/// Something for all sessions of a user.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireWord {
    user: WireUser,
    saying: WireSaying,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum WireSaying {
    Read {
        room: [u8; 16],
        seq: u64,
        rev: u64,
    },
    /// No longer a member is role 0.
    Membership {
        room: [u8; 16],
        role: i16,
        rev: u64,
    },
    Replace {
        session: [u8; 16],
    },
}

/// A [`WireWord`] as this node uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) saying: Saying,
}

/// What sessions of a user are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saying {
    /// The user read up to here.
    Read { room: RoomId, seq: Seq, rev: u64 },
    /// The user's membership of a room changed.
    Membership { room: RoomId, role: Option<Role>, rev: u64 },
    /// The session's client opened another one.
    Replace { session: SessionId },
}

impl PresenceFrame {
    pub(crate) fn encode(&self) -> Bytes {
        let encoded = rkyv::to_bytes::<rancor::Error>(self);
        // Owned plain data without shared pointers: there is nothing that cannot be written.
        let encoded = encoded.expect("a presence frame always encodes").into_vec();
        debug_assert!(encoded.len() <= PRESENCE_FRAME_BYTES_MAX);
        Bytes::from(encoded)
    }

    pub(crate) fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        at_most("bytes", frame.len(), PRESENCE_FRAME_BYTES_MAX)?;
        let frame = rkyv::from_bytes::<Self, rancor::Error>(frame)
            .map_err(|error| Malformed(error.to_string()))?;
        frame.check()?;
        Ok(frame)
    }

    fn check(&self) -> Result<(), Malformed> {
        let no_users = [].as_slice();
        let (shard, present, users, more_users, words) = match self {
            Self::Whole { shard, present, watched, .. } => {
                (*shard, present.as_slice(), watched.as_slice(), no_users, [].as_slice())
            }
            Self::Change { shard, present, watch, unwatch } => {
                (*shard, present.as_slice(), watch.as_slice(), unwatch.as_slice(), [].as_slice())
            }
            Self::Tells { shard, tells } => {
                (*shard, tells.as_slice(), no_users, no_users, [].as_slice())
            }
            Self::Carry { shard, words } => {
                (*shard, [].as_slice(), no_users, no_users, words.as_slice())
            }
            Self::Deliver { words } => {
                at_most("words", words.len(), PRESENCE_WORDS_BATCH_MAX)?;
                return words.iter().try_for_each(|word| word.saying.check());
            }
            Self::Ask { .. } | Self::EndSessions { .. } => return Ok(()),
        };
        at_most("users", present.len(), PRESENCE_BATCH_MAX)?;
        at_most("users", users.len(), PRESENCE_BATCH_MAX)?;
        at_most("users", more_users.len(), PRESENCE_BATCH_MAX)?;
        at_most("words", words.len(), PRESENCE_WORDS_BATCH_MAX)?;
        present.iter().try_for_each(|present| status(present.status).map(drop))?;
        words.iter().try_for_each(|word| word.saying.check())?;
        let present = present.iter().map(|present| present.user);
        let words = words.iter().map(|word| word.user);
        let mut all =
            present.chain(words).chain(users.iter().copied()).chain(more_users.iter().copied());
        if all.all(|user| user.user[15] == shard) {
            Ok(())
        } else {
            Err(Malformed(format!("a user is not of user shard {shard}")))
        }
    }
}

impl WireSaying {
    fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::Membership { role, .. } if *role != 0 && Role::from_number(*role).is_none() => {
                Err(Malformed(format!("there is no role {role}")))
            }
            _ => Ok(()),
        }
    }
}

impl From<(TenantId, UserId)> for WireUser {
    fn from((tenant, user): (TenantId, UserId)) -> Self {
        Self { tenant: tenant.0, user: user.0.into_bytes() }
    }
}

impl From<WireUser> for (TenantId, UserId) {
    fn from(WireUser { tenant, user }: WireUser) -> Self {
        (TenantId(tenant), UserId(Uuid::from_bytes(user)))
    }
}

impl WirePresent {
    pub(crate) fn new(who: (TenantId, UserId), status: PresenceStatus) -> Self {
        let status = match status {
            PresenceStatus::Offline => 0,
            PresenceStatus::Away => 1,
            PresenceStatus::Online => 2,
        };
        Self { user: who.into(), status }
    }

    pub(crate) fn who(self) -> (TenantId, UserId) {
        self.user.into()
    }

    pub(crate) fn status(self) -> PresenceStatus {
        status(self.status).expect("a frame that decodes holds no other")
    }
}

impl WireWord {
    pub(crate) fn who(&self) -> (TenantId, UserId) {
        self.user.into()
    }

    /// Whether it is of use to a session that begins after it.
    pub(crate) fn is_of_feed(&self) -> bool {
        !matches!(self.saying, WireSaying::Replace { .. })
    }
}

impl From<Word> for WireWord {
    fn from(Word { tenant, user, saying }: Word) -> Self {
        let saying = match saying {
            Saying::Read { room, seq, rev } => {
                WireSaying::Read { room: room.0.into_bytes(), seq: seq.0, rev }
            }
            Saying::Membership { room, role, rev } => {
                let role = role.map_or(0, Role::number);
                WireSaying::Membership { room: room.0.into_bytes(), role, rev }
            }
            Saying::Replace { session } => WireSaying::Replace { session: session.0.into_bytes() },
        };
        Self { user: (tenant, user).into(), saying }
    }
}

impl From<WireWord> for Word {
    fn from(WireWord { user, saying }: WireWord) -> Self {
        let room = |room| RoomId(Uuid::from_bytes(room));
        let saying = match saying {
            WireSaying::Read { room: at, seq, rev } => {
                Saying::Read { room: room(at), seq: Seq(seq), rev }
            }
            WireSaying::Membership { room: at, role, rev } => {
                Saying::Membership { room: room(at), role: Role::from_number(role), rev }
            }
            WireSaying::Replace { session } => {
                Saying::Replace { session: SessionId(Uuid::from_bytes(session)) }
            }
        };
        let (tenant, user) = user.into();
        Self { tenant, user, saying }
    }
}

fn status(number: u8) -> Result<PresenceStatus, Malformed> {
    Ok(match number {
        0 => PresenceStatus::Offline,
        1 => PresenceStatus::Away,
        2 => PresenceStatus::Online,
        _ => return Err(Malformed(format!("there is no status {number}"))),
    })
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), Malformed> {
    if count > max {
        return Err(Malformed(format!("{count} {what} in a presence frame; allowed are {max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARD: u8 = 9;

    fn who(n: u8) -> (TenantId, UserId) {
        let mut bytes = [n; 16];
        bytes[15] = SHARD;
        (TenantId(1), UserId(Uuid::from_bytes(bytes)))
    }

    fn word(saying: Saying) -> WireWord {
        Word { tenant: TenantId(1), user: who(3).1, saying }.into()
    }

    fn frames() -> Vec<PresenceFrame> {
        let (shard, room) = (SHARD, RoomId(Uuid::from_bytes([7; 16])));
        let present = vec![WirePresent::new(who(1), PresenceStatus::Online)];
        let tells = vec![WirePresent::new(who(2), PresenceStatus::Away)];
        let (watch, unwatch) = (vec![who(4).into()], vec![who(5).into()]);
        let read = word(Saying::Read { room, seq: Seq(8), rev: 9 });
        let role = Some(Role::Moderator);
        let membership = word(Saying::Membership { room, role, rev: 10 });
        let replace = word(Saying::Replace { session: SessionId(Uuid::from_bytes([6; 16])) });
        let watched = watch.clone();
        vec![
            PresenceFrame::Whole {
                shard,
                first: true,
                last: false,
                present: present.clone(),
                watched,
            },
            PresenceFrame::Change { shard, present, watch, unwatch },
            PresenceFrame::Tells { shard, tells },
            PresenceFrame::Ask { shard },
            PresenceFrame::Carry { shard, words: vec![read] },
            PresenceFrame::Deliver { words: vec![membership, replace] },
            PresenceFrame::EndSessions { user: who(1).into() },
        ]
    }

    #[test]
    fn the_layout_of_every_frame_is_fixed() {
        let written: Vec<String> = frames()
            .iter()
            .map(|frame| frame.encode().iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let golden = include_str!("presence_golden.txt");
        assert_eq!(written, golden.lines().collect::<Vec<_>>(), "\n{}", written.join("\n"));
    }

    #[test]
    fn every_frame_and_every_word_survives_the_wire() {
        for frame in frames() {
            assert_eq!(PresenceFrame::decode(&frame.encode()).expect("decodes"), frame);
        }
        for role in [None, Some(Role::Member), Some(Role::Owner)] {
            let saying = Saying::Membership { room: RoomId(Uuid::nil()), role, rev: 1 };
            let known = Word { tenant: TenantId(2), user: who(1).1, saying };
            assert_eq!(Word::from(WireWord::from(known)), known);
        }
    }

    #[test]
    fn counts_numbers_and_shards_out_of_bounds_are_refused() {
        let shard = SHARD;
        let one = WirePresent::new(who(1), PresenceStatus::Online);
        let unknown = WirePresent { status: 3, ..one };
        let elsewhere = WirePresent { user: WireUser { tenant: 1, user: [1; 16] }, ..one };
        let mut odd = word(Saying::Read { room: RoomId(Uuid::nil()), seq: Seq(1), rev: 1 });
        let fine = odd.clone();
        odd.saying = WireSaying::Membership { room: [0; 16], role: 9, rev: 1 };
        let refused = [
            PresenceFrame::Tells { shard, tells: vec![one; PRESENCE_BATCH_MAX + 1] },
            PresenceFrame::Tells { shard, tells: vec![unknown] },
            PresenceFrame::Tells { shard, tells: vec![elsewhere] },
            PresenceFrame::Deliver { words: vec![fine.clone(); PRESENCE_WORDS_BATCH_MAX + 1] },
            PresenceFrame::Deliver { words: vec![odd.clone()] },
            PresenceFrame::Carry { shard, words: vec![odd] },
        ];
        for frame in refused {
            let bytes = rkyv::to_bytes::<rancor::Error>(&frame).expect("encodes");
            PresenceFrame::decode(&bytes).expect_err("out of bounds");
        }
        PresenceFrame::decode(&vec![0; PRESENCE_FRAME_BYTES_MAX + 1]).expect_err("too long");
    }

    #[test]
    fn the_longest_frames_are_within_the_bound_of_bytes() {
        let shard = SHARD;
        let present = vec![WirePresent::new(who(1), PresenceStatus::Away); PRESENCE_BATCH_MAX];
        let watch: Vec<WireUser> = vec![who(1).into(); PRESENCE_BATCH_MAX];
        let unwatch = watch.clone();
        let longest = word(Saying::Membership { room: RoomId(Uuid::nil()), role: None, rev: 1 });
        let words = vec![longest; PRESENCE_WORDS_BATCH_MAX];
        for frame in [
            PresenceFrame::Change { shard, present, watch, unwatch },
            PresenceFrame::Carry { shard, words },
        ] {
            assert_eq!(PresenceFrame::decode(&frame.encode()).expect("within bounds"), frame);
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_decoding_does_not_panic(
            which in 0..7usize, at in any::<prop::sample::Index>(), byte: u8, cut: u8,
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = PresenceFrame::decode(&noise);
            let mut bytes = frames()[which].encode().to_vec();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            let _ = PresenceFrame::decode(&bytes);
            bytes.truncate(bytes.len().saturating_sub(usize::from(cut)));
            let _ = PresenceFrame::decode(&bytes);
        }
    }
}

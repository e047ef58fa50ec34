//! What directories say to each other: one version byte, then postcard. The layout of a version
//! never changes; the tests hold its bytes. What it means is decided where it is answered.

use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use parlance_actors::ports::cluster::RoomLoad;
use parlance_actors::vocab::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{AdmitNode, Command, Response};
use super::identity::ClusterId;
use super::returns::Returning;
use super::types::{Types, Vote};

/// The version of the layout.
const VERSION: u8 = 1;

/// A call: from which node to which, and what it asks. Both are `NodeId(0)` where the caller does
/// not know them: a node that joins has no id and knows only addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    /// `None` of a node that joins.
    pub(super) cluster: Option<ClusterId>,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    Snapshot(Piece),
    /// A change for the leader to make.
    Change(Command),
    /// Up to where must a node have applied to have seen everything committed so far?
    ReadIndex,
    Renew(Renewal),
    /// Admit this node, new or come back.
    Admit(AdmitNode),
    /// May this node come back as it is?
    Return(Returning),
    /// Which of your rooms do the most?
    Busiest,
}

/// A piece of a snapshot's file. One without bytes asks how much of it is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) vote: Vote,
    /// Which file: the index of its last entry, its term, and its length.
    pub(super) last_index: u64,
    pub(super) last_term: u64,
    pub(super) length: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// A node says that it is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Renewal {
    pub(super) incarnation: u64,
    pub(super) load: LoadReport,
}

/// What a node does, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Rooms awake there.
    pub rooms: u64,
    /// Sessions there.
    pub sessions: u64,
    /// Events that its rooms committed a second.
    pub events_per_second: f64,
    /// The same for each shard that it owns, rounded, by the shard's number; absent ones are 0.
    pub shards: Vec<u16>,
}

/// A node's load without its shards: what every node hears of every other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LoadSum {
    pub(super) rooms: u64,
    pub(super) sessions: u64,
    pub(super) events_per_second: f64,
}

/// A node and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) id: NodeId,
    pub(super) name: Arc<str>,
    pub(super) control: Arc<str>,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    /// The transfer was accepted or not; why not.
    TransferLeader(Result<(), String>),
    /// How much of the snapshot is there.
    PieceTaken(u64),
    /// The whole snapshot is installed, or a higher vote stands against it.
    Installed(Vote),
    /// The change is applied by this entry.
    Changed {
        index: u64,
        response: Response,
    },
    ReadAt(u64),
    /// The lease is renewed. What each live node last said of its load.
    Renewed(Vec<(NodeId, LoadSum)>),
    Admitted {
        node: NodeId,
        cluster: ClusterId,
    },
    /// Ask the leader, where one is known. Nothing was done.
    NotLeader(Option<Known>),
    /// Not now. Whether it was done is unknown; trying again may help.
    Failed(String),
    /// No. Nothing was done, and trying again does not help.
    Refused(String),
    /// As far as this node knows, which is much when it leads.
    MayReturn {
        leads: bool,
    },
    Busiest(Vec<RoomLoad>),
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    let bytes = postcard::to_extend(message, vec![VERSION]);
    Bytes::from(bytes.expect("messages are plain data and encode into memory"))
}

/// `None` for another version and for what is no message.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, body) = bytes.split_first()?;
    (*version == VERSION).then(|| postcard::from_bytes(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use parlance_actors::vocab::{Epoch, RoomId, RoomRef, ShardId, TenantId, Timestamp};
    use uuid::Uuid;

    use super::super::command::Release;
    use super::super::types::{Entry, LogId};
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn asked(ask: Ask) -> String {
        let cluster = Some(ClusterId(Uuid::from_bytes([1; 16])));
        let call = Call { cluster, from: NodeId(2), to: NodeId(3), ask };
        let bytes = encode(&call);
        let again: Call = decode(&bytes).expect("decodes");
        assert_eq!(encode(&again), bytes);
        let head = "010110".to_owned() + &"01".repeat(16) + "0203";
        let hex = hex(&bytes);
        hex.strip_prefix(&head).expect("version, cluster, from, to").to_owned()
    }

    fn answered(answer: &Answer) -> String {
        let bytes = encode(answer);
        let again: Answer = decode(&bytes).expect("decodes");
        assert_eq!(encode(&again), bytes);
        hex(&bytes)
    }

    fn admit() -> AdmitNode {
        AdmitNode {
            claims: None,
            token: Uuid::from_bytes([2; 16]),
            name: "a".into(),
            control: "b".into(),
            data: "c".into(),
            version: "d".into(),
            incarnation: 4,
        }
    }

    #[test]
    fn the_bytes_of_calls_never_change() {
        let vote = Vote::new_committed(5, 2);
        let id = LogId { leader_id: vote.leader_id, index: 9 };
        let entries = vec![Entry { log_id: id, payload: EntryPayload::Blank }];
        let append =
            AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: Some(id) };
        assert_eq!(asked(Ask::Append(append)), "00050201000105020900010502".to_owned() + "09");
        assert_eq!(asked(Ask::Vote(VoteRequest::new(vote, Some(id)))), "010502010105020900");
        assert_eq!(asked(Ask::PreVote(VoteRequest::new(vote, None))), "020502010000");
        let transfer = TransferLeaderRequest::new(vote, 3, None);
        assert_eq!(asked(Ask::TransferLeader(transfer)), "030502010300");
        let piece = Piece {
            vote,
            last_index: 9,
            last_term: 5,
            length: 300,
            offset: 1,
            bytes: Bytes::from_static(b"x"),
        };
        assert_eq!(asked(Ask::Snapshot(piece)), "040502010905ac02010178");
        let release = Release { shard: ShardId(7), epoch: Epoch(300), at: Timestamp(1) };
        assert_eq!(asked(Ask::Change(Command::Release(release))), "050707ac0202");
        assert_eq!(asked(Ask::ReadIndex), "06");
        let load = LoadReport { rooms: 1, sessions: 2, events_per_second: 0.0, shards: vec![3] };
        let renew = Ask::Renew(Renewal { incarnation: 4, load });
        assert_eq!(asked(renew), "070401020000000000000000".to_owned() + "0103");
        let token = "0010".to_owned() + &"02".repeat(16);
        assert_eq!(asked(Ask::Admit(admit())), format!("08{token}016101620163016404"));
        let returning = Ask::Return(Returning { incarnation: 4, last: 300 });
        assert_eq!(asked(returning), "0904ac02");
        assert_eq!(asked(Ask::Busiest), "0a");
    }

    #[test]
    fn the_bytes_of_answers_never_change() {
        let vote = Vote::new_committed(5, 2);
        assert_eq!(answered(&Answer::Append(AppendEntriesResponse::Conflict)), "010002");
        assert_eq!(answered(&Answer::Vote(VoteResponse::new(vote, None, true))), "01010502010100");
        assert_eq!(answered(&Answer::TransferLeader(Ok(()))), "010200");
        assert_eq!(answered(&Answer::PieceTaken(300)), "0103ac02");
        assert_eq!(answered(&Answer::Installed(vote)), "0104050201");
        let changed = Answer::Changed { index: 9, response: Response::Admitted(NodeId(3)) };
        assert_eq!(answered(&changed), "01050905".to_owned() + "03");
        assert_eq!(answered(&Answer::ReadAt(9)), "010609");
        let sum = LoadSum { rooms: 1, sessions: 2, events_per_second: 0.0 };
        assert_eq!(
            answered(&Answer::Renewed(vec![(NodeId(3), sum)])),
            "0107010301020000000000000000"
        );
        let cluster = ClusterId(Uuid::from_bytes([1; 16]));
        assert_eq!(
            answered(&Answer::Admitted { node: NodeId(3), cluster }),
            "01080310".to_owned() + &"01".repeat(16)
        );
        let known = Known { id: NodeId(3), name: "a".into(), control: "b".into() };
        assert_eq!(answered(&Answer::NotLeader(Some(known))), "0109010301610162");
        assert_eq!(answered(&Answer::Failed("a".into())), "010a0161");
        assert_eq!(answered(&Answer::Refused("a".into())), "010b0161");
        assert_eq!(answered(&Answer::MayReturn { leads: true }), "010c01");
        let load = RoomLoad {
            room: RoomRef { tenant: TenantId(1), room: RoomId(Uuid::from_bytes([2; 16])) },
            events_per_second: 1.0,
            deliveries_per_second: 0.0,
            sessions: 300,
        };
        let of_two = "000000000000f03f".to_owned() + &"00".repeat(8) + "ac02";
        assert_eq!(
            answered(&Answer::Busiest(vec![load])),
            format!("010d010110{}{of_two}", "02".repeat(16))
        );
    }

    #[test]
    fn another_version_and_other_bytes_are_no_message() {
        let mut bytes = encode(&Answer::ReadAt(9)).to_vec();
        bytes[0] += 1;
        assert!(decode::<Answer>(&bytes).is_none());
        assert!(decode::<Answer>(&[]).is_none());
        assert!(decode::<Answer>(&[VERSION, 200]).is_none());
    }

    #[test]
    fn an_entry_with_a_command_of_a_later_release_is_no_message() {
        let vote = Vote::new_committed(5, 2);
        let id = LogId { leader_id: vote.leader_id, index: 9 };
        let release = Release { shard: ShardId(7), epoch: Epoch(300), at: Timestamp(1) };
        let entries =
            vec![Entry { log_id: id, payload: EntryPayload::Normal(Command::Release(release)) }];
        let append = AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None };
        let call = Call { cluster: None, from: NodeId(2), to: NodeId(3), ask: Ask::Append(append) };
        let mut bytes = encode(&call).to_vec();
        assert!(decode::<Call>(&bytes).is_some());
        let command = bytes.windows(5).position(|five| five == [7, 7, 0xac, 2, 2]);
        bytes[command.expect("the command is in there")] = 100;
        // Nothing of the call is taken: an older node never skips or guesses an entry.
        assert!(decode::<Call>(&bytes).is_none());
    }
}

//! The rooms of the directory with every index over them. This struct alone changes them, so the
//! indexes cannot drift apart. It decides nothing: names and keys are checked by the state.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parlance_actors::vocab::{Key, RoomId, RoomKind, RoomMeta, TenantId, UserId};

use super::command::{FoldedName, ListedKind, RoomRecord};

/// A room and the form of its name that is unique among public rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) meta: Arc<RoomMeta>,
    pub(super) folded: Arc<str>,
}

/// Rooms by id, and the indexes: creators' keys, and each tenant's public rooms by name. Names of private
/// rooms are in none: whether one exists is nobody's business but its members'.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rooms {
    by_id: BTreeMap<(TenantId, RoomId), Listed>,
    by_key: HashMap<(TenantId, UserId, Key), RoomId>,
    public: HashMap<TenantId, BTreeMap<Arc<str>, RoomId>>,
}

impl Rooms {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, tenant: TenantId, room: RoomId) -> Option<&Listed> {
        self.by_id.get(&(tenant, room))
    }

    /// The public room of that name.
    pub(super) fn named(&self, tenant: TenantId, folded: &str) -> Option<&Listed> {
        let room = self.public.get(&tenant)?.get(folded)?;
        self.get(tenant, *room)
    }

    pub(super) fn made_with(&self, tenant: TenantId, by: UserId, key: Key) -> Option<&Listed> {
        self.get(tenant, *self.by_key.get(&(tenant, by, key))?)
    }

    /// Public rooms of a tenant whose folded names begin with `prefix`, ascending by them, after the
    /// given public room.
    pub(super) fn public_after(
        &self,
        tenant: TenantId,
        prefix: &str,
        after: Option<RoomId>,
        limit: usize,
    ) -> Vec<Arc<RoomMeta>> {
        let Some(public) = self.public.get(&tenant) else { return Vec::new() };
        let from = match after {
            None => Bound::Included(prefix),
            Some(after) => match self.get(tenant, after) {
                Some(last) if last.meta.kind == RoomKind::Public && *last.folded >= *prefix => {
                    Bound::Excluded(&*last.folded)
                }
                Some(last) if last.meta.kind == RoomKind::Public => Bound::Included(prefix),
                _ => return Vec::new(),
            },
        };
        let range = public.range::<str, _>((from, Bound::Unbounded));
        let named = range.take_while(|(folded, _)| folded.starts_with(prefix));
        named.take(limit).filter_map(|(_, id)| Some(self.get(tenant, *id)?.meta.clone())).collect()
    }

    /// Puts a room in, or puts it in place of its former self.
    pub(super) fn put(&mut self, listed: Listed) {
        let Listed { meta, folded } = &listed;
        let at = (meta.tenant, meta.id);
        if let Some(former) = self.by_id.get(&at).filter(|former| former.is_public())
            && let Some(public) = self.public.get_mut(&meta.tenant)
        {
            public.remove(&former.folded);
        }
        self.by_key.insert((meta.tenant, meta.created_by, meta.key), meta.id);
        if listed.is_public() {
            self.public.entry(meta.tenant).or_default().insert(folded.clone(), meta.id);
        }
        self.by_id.insert(at, listed);
    }

    /// Every room in the order of tenants and ids, as snapshots hold them.
    pub(super) fn records(&self) -> Vec<RoomRecord> {
        self.by_id.values().map(Listed::record).collect()
    }

    /// The rooms of a snapshot; `None` when two of them cannot be there together.
    pub(super) fn from_records(records: Vec<RoomRecord>) -> Option<Self> {
        let mut rooms = Self::default();
        for record in records {
            let taken = rooms.get(record.tenant, record.id).is_some()
                || record.kind == ListedKind::Public
                    && rooms.named(record.tenant, &record.name.folded).is_some()
                || rooms.made_with(record.tenant, record.created_by, record.key).is_some();
            if taken {
                return None;
            }
            rooms.put(Listed::from(record));
        }
        Some(rooms)
    }
}

impl Listed {
    fn is_public(&self) -> bool {
        self.meta.kind == RoomKind::Public
    }

    pub(super) fn record(&self) -> RoomRecord {
        let meta = &self.meta;
        let name = meta.name.clone().expect("listed rooms have a name");
        RoomRecord {
            tenant: meta.tenant,
            id: meta.id,
            kind: match meta.kind {
                RoomKind::Public => ListedKind::Public,
                _ => ListedKind::Private,
            },
            name: FoldedName { name, folded: self.folded.clone() },
            topic: meta.topic.clone(),
            slow_mode_seconds: meta.settings.slow_mode_seconds,
            version: meta.version,
            created_by: meta.created_by,
            created_at: meta.created_at,
            key: meta.key,
            changed_by: meta.changed_by,
        }
    }
}

impl From<RoomRecord> for Listed {
    fn from(record: RoomRecord) -> Self {
        let folded = record.name.folded.clone();
        Self { meta: Arc::new(record.into()), folded }
    }
}

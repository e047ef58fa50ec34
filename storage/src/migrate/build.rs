//! The migrations that a build of the server knows, and which release of the schema it is.
//!
//! A release is a number that grows by one with each release of the server that changes the
//! schema. Every migration says with which one it came and from which one on nodes can work with
//! the schema after it: the release before, so that a rolling upgrade never stops.

/// Where a migration belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    Tenant,
}

#[derive(Debug)]
pub(super) struct Migration {
    pub(super) version: i32,
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    /// The release that it came with.
    pub(super) release: i32,
    /// The oldest release whose nodes work with the schema after it.
    pub(super) works_from: i32,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

/// What a build knows, the oldest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    pub(super) release: i32,
    pub(super) postgres: &'static [&'static [Migration]],
    pub(super) sqlite: &'static [&'static [Migration]],
}

impl Build {
    /// This build.
    #[cfg(not(feature = "next-version"))]
    pub(crate) const NOW: Self = Self { release: 1, postgres: &[POSTGRES], sqlite: &[SQLITE] };
    /// This build: the one that the upgrade is tested with.
    #[cfg(feature = "next-version")]
    pub(crate) const NOW: Self = Self::NEXT;

    /// The release after this one, as the upgrade is tested with it. What it adds to the schema
    /// stands for anything that a release may add.
    #[cfg(any(test, feature = "next-version"))]
    pub(crate) const NEXT: Self =
        Self { release: 2, postgres: &[POSTGRES, next::POSTGRES], sqlite: &[SQLITE, next::SQLITE] };
}

const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "global",
        scope: Scope::Global,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0001_global.up.sql"),
        down: include_str!("../../migrations/postgres/0001_global.down.sql"),
    },
    Migration {
        version: 2,
        name: "tenant",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0002_tenant.up.sql"),
        down: include_str!("../../migrations/postgres/0002_tenant.down.sql"),
    },
    Migration {
        version: 3,
        name: "room",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0003_room.up.sql"),
        down: include_str!("../../migrations/postgres/0003_room.down.sql"),
    },
    Migration {
        version: 4,
        name: "pin",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0004_pin.up.sql"),
        down: include_str!("../../migrations/postgres/0004_pin.down.sql"),
    },
    Migration {
        version: 5,
        name: "mention",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0005_mention.up.sql"),
        down: include_str!("../../migrations/postgres/0005_mention.down.sql"),
    },
    Migration {
        version: 6,
        name: "profile",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/postgres/0006_profile.up.sql"),
        down: include_str!("../../migrations/postgres/0006_profile.down.sql"),
    },
];

const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "global",
        scope: Scope::Global,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0001_global.up.sql"),
        down: include_str!("../../migrations/sqlite/0001_global.down.sql"),
    },
    Migration {
        version: 2,
        name: "tenant",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0002_tenant.up.sql"),
        down: include_str!("../../migrations/sqlite/0002_tenant.down.sql"),
    },
    Migration {
        version: 3,
        name: "room",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0003_room.up.sql"),
        down: include_str!("../../migrations/sqlite/0003_room.down.sql"),
    },
    Migration {
        version: 4,
        name: "pin",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0004_pin.up.sql"),
        down: include_str!("../../migrations/sqlite/0004_pin.down.sql"),
    },
    Migration {
        version: 5,
        name: "mention",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0005_mention.up.sql"),
        down: include_str!("../../migrations/sqlite/0005_mention.down.sql"),
    },
    Migration {
        version: 6,
        name: "profile",
        scope: Scope::Tenant,
        release: 1,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/0006_profile.up.sql"),
        down: include_str!("../../migrations/sqlite/0006_profile.down.sql"),
    },
];

/// The build of the upgrade's test.
#[cfg(any(test, feature = "next-version"))]
mod next {
    use super::{Migration, Scope};

    pub(super) const POSTGRES: &[Migration] = &[Migration {
        version: 7,
        name: "next",
        scope: Scope::Tenant,
        release: 2,
        works_from: 1,
        up: include_str!("../../migrations/postgres/next.up.sql"),
        down: include_str!("../../migrations/postgres/next.down.sql"),
    }];

    pub(super) const SQLITE: &[Migration] = &[Migration {
        version: 7,
        name: "next",
        scope: Scope::Tenant,
        release: 2,
        works_from: 1,
        up: include_str!("../../migrations/sqlite/next.up.sql"),
        down: include_str!("../../migrations/sqlite/next.down.sql"),
    }];
}

#[cfg(test)]
mod tests;

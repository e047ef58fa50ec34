//! Storage: the ports of `parlance-actors` on SQLite and on PostgreSQL.

pub mod crypt;
pub mod keyring;

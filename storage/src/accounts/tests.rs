//! The port's conformance suite on SQLite and on PostgreSQL.

use parlance_actors::testkit::accounts_suite;

use crate::{Storage, StorageConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_on_sqlite_pass_the_suite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().display());
    let storage = Storage::open(StorageConfig::new(url)).await.expect("opened");
    accounts_suite::all(storage.accounts()).await;
}

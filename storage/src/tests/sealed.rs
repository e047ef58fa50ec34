//! The suites of history and mentions again with bodies sealed at rest, by a process that has written
//! nothing else: encryption changes no promise.

use parlance_actors::testkit::{history_suite, mentions_suite};
use parlance_actors::vocab::Timestamp;

use super::Process;
use crate::keyring::KeyRing;
use crate::testkit::PostgresServer;
use crate::{Crypt, StorageConfig};

async fn keeps_its_contract_when_sealed(mut config: StorageConfig) {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = folder.path().join("keys");
    KeyRing::generate(&ring, Timestamp::now()).expect("a key");
    config.crypt = Crypt::from_file(&ring).expect("a ring");
    let process = Process::open(&config).await;
    mentions_suite::all(&process).await;
    history_suite::all(&process).await;
    process.storage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_history_on_sqlite_keeps_its_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    keeps_its_contract_when_sealed(StorageConfig::new(url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_history_on_postgres_keeps_its_contract() {
    let server = PostgresServer::start(false).await;
    keeps_its_contract_when_sealed(StorageConfig::new(server.url())).await;
}

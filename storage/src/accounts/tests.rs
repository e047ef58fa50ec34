//! The port's conformance suite on SQLite and on PostgreSQL, and what the suite cannot see.

use parlance_actors::testkit::accounts_suite;
use parlance_actors::vocab::TenantId;

use crate::sql::{Arg, Db, For};
use crate::testkit::PostgresServer;
use crate::{Storage, StorageConfig};

async fn on_sqlite() -> (tempfile::TempDir, Storage) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().display());
    let storage = Storage::open(StorageConfig::new(url)).await.expect("opened");
    (folder, storage)
}

async fn on_postgres() -> (PostgresServer, Storage) {
    let server = PostgresServer::start(false).await;
    let storage = Storage::open(StorageConfig::new(server.url())).await.expect("opened");
    (server, storage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_on_sqlite_pass_the_suite() {
    let (_folder, storage) = on_sqlite().await;
    accounts_suite::all(storage.accounts()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_on_postgres_pass_the_suite() {
    let (_server, storage) = on_postgres().await;
    accounts_suite::all(storage.accounts()).await;
    the_plans_use_indexes(&storage.db).await;
    a_rare_name_is_found_without_a_look_at_everybody(&storage.db).await;
}

/// Also where all usernames begin alike, and names as they do.
async fn a_rare_name_is_found_without_a_look_at_everybody(db: &Db) {
    const MANY: &str = "INSERT INTO {t}.\"user\" (id, username, folded, name, name_folded, created_at)
        SELECT gen_random_uuid(), name, name, name, name, 1
        FROM (SELECT 'user ' || lpad(n::text, 6, '0') AS name FROM generate_series(1, 20000) AS n) AS made";
    db.rows(TenantId::MAIN, For::Writing, MANY, Vec::new()).await.expect("made");
    db.rows(TenantId::MAIN, For::Writing, "ANALYZE {t}.\"user\"", Vec::new()).await.expect("done");
    for prefix in ["user 019", "u", "z"] {
        let args = [("$1", prefix), ("$2", "z\u{10ffff}"), ("$4", prefix), ("$5", "z\u{10ffff}")];
        let quoted =
            |sql: String, (place, text): &(&str, &str)| sql.replace(place, &format!("'{text}'"));
        let sql = args.iter().fold(super::users::BY_PREFIX.replace("$3", "50"), quoted);
        let sql = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}");
        let rows = db.rows(TenantId::MAIN, For::Writing, &sql, Vec::new()).await.expect("planned");
        let plan: Vec<_> = rows.iter().map(|row| row.text(0).expect("text")).collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains("user_name") && plan.contains("user_folded_key"),
            "{prefix}:\n{plan}"
        );
        assert!(
            !plan.contains("Seq Scan") && !plan.contains("Removed by Filter"),
            "{prefix}:\n{plan}"
        );
    }
}

/// With sequential scans made expensive, the planner shows one only where no index serves.
async fn the_plans_use_indexes(db: &Db) {
    let statements = [
        (
            "BY_PREFIX",
            "SELECT id FROM {t}.\"user\" WHERE folded >= 'a' AND folded < 'b' ORDER BY folded LIMIT 5",
        ),
        ("BY_NAME", "SELECT id FROM {t}.\"user\" WHERE folded = 'a'"),
        ("ANY_ADMIN", "SELECT 1 FROM {t}.\"user\" WHERE admin LIMIT 1"),
        (
            "tickets",
            "SELECT hash FROM {g}.ticket WHERE expires_at <= 1 ORDER BY expires_at LIMIT 5",
        ),
        (
            "tokens",
            "SELECT hash FROM {g}.refresh_token WHERE expires_at <= 1 ORDER BY expires_at LIMIT 5",
        ),
        (
            "limits",
            "SELECT subject FROM {g}.login_limit WHERE ends_at <= 1 ORDER BY ends_at LIMIT 5",
        ),
        ("lockouts", "SELECT subject FROM {g}.lockout WHERE ends_at <= 1 ORDER BY ends_at LIMIT 5"),
    ];
    for (name, sql) in statements {
        let mut transaction = db.begin(TenantId::MAIN, For::Writing).await.expect("begun");
        transaction.rows("SET LOCAL enable_seqscan = off", Vec::new()).await.expect("set");
        transaction.rows("SET LOCAL enable_sort = off", Vec::new()).await.expect("set");
        let rows = transaction.rows(&format!("EXPLAIN {sql}"), Vec::new()).await.expect("planned");
        let plan: Vec<_> = rows.iter().map(|row| row.text(0).expect("text")).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{name}:\n{plan}");
        transaction.commit().await.expect("ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_works_in_batches_and_leaves_nothing_behind() {
    use parlance_actors::vocab::Timestamp;
    let (_folder, storage) = on_sqlite().await;
    const MANY: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
        INSERT INTO {g}.login_limit SELECT 'subject ' || i, 0, 1, i FROM n";
    let many = crate::limits::SWEEP_ROWS_MAX * 2 + 7;
    storage.db.rows(TenantId::MAIN, For::Writing, MANY, vec![Arg::Int(many)]).await.expect("made");
    let accounts = storage.accounts();
    let all_but_three = Timestamp(many - 3);
    assert_eq!(accounts.sweep(all_but_three).await.expect("swept"), (many - 3).cast_unsigned());
    assert_eq!(accounts.sweep(Timestamp(many)).await.expect("swept"), 3);
}

/// A node that hangs with the lock in its hands delays others, and then loses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_change_on_postgres_holds_nobody_up_for_ever() {
    use parlance_actors::ports::accounts::{AccountError, NewUser};
    use parlance_actors::vocab::{Timestamp, UserId, Username};
    let (_server, storage) = on_postgres().await;
    let accounts = storage.accounts();
    let user = NewUser {
        tenant: TenantId::MAIN,
        id: UserId::generate(),
        username: Username::known("ann"),
        password: None,
        admin: false,
        at: Timestamp(1),
    };
    let user = accounts.create_user(user).await.expect("made").id;
    let stored = super::SqlAccounts { db: storage.db.clone(), lists: storage.lists.clone() };
    let mut hanging = storage.db.begin(TenantId::MAIN, For::Writing).await.expect("begun");
    stored.lock_user(&mut hanging, user).await.expect("locked");
    let change = async || accounts.set_password(TenantId::MAIN, user, "phc".into()).await;
    while let Err(error) = change().await {
        assert!(matches!(error, AccountError::Unavailable(_)), "{error}");
    }
    assert!(hanging.rows("SELECT 1", Vec::new()).await.is_err(), "the hanging one was ended");
}

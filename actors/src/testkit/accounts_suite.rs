//! The conformance suite of the port [`Accounts`]: what every implementation must do, also when
//! many callers do it at once. It needs an empty store that nobody else uses.

mod counts;
mod profiles;
mod sign_ins;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ports::Accounts;
use crate::ports::accounts::{
    AccountError, Failures, LockoutRule, NewUser, ProfileChange, RefreshToken, Rotation,
    SecretHash, SigningKey, Ticket,
};
use crate::vocab::{
    About, DeviceId, DisplayName, Profile, TenantId, Timestamp, User, UserId, Username,
};

/// Callers that do the same thing at once.
const CALLERS: usize = 16;
const TENANT: TenantId = TenantId::MAIN;
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

type Store = Arc<dyn Accounts>;

/// Runs the whole suite; a failure panics, after the name of the case was printed.
pub async fn all(accounts: Store) {
    case("one_first_administrator", one_first_administrator(accounts.clone())).await;
    case("one_new_signing_key", one_new_signing_key(accounts.clone())).await;
    case("a_young_key_is_kept", a_young_signing_key_is_kept(accounts.clone())).await;
    case("names", names_are_unique_without_regard_to_case(accounts.clone())).await;
    case("one_name", of_many_who_want_a_name_one_gets_it(accounts.clone())).await;
    case("round_trip", an_account_is_read_back_as_it_was_made(accounts.clone())).await;
    case("many", many_are_looked_up_at_once(accounts.clone())).await;
    case("prefix", users_are_found_by_prefix_in_order(accounts.clone())).await;
    case("profile", profiles::a_profile_is_changed_in_parts(accounts.clone())).await;
    case("passing_for", profiles::nobody_is_shown_as_another_username(accounts.clone())).await;
    case("by_name", profiles::people_are_found_by_the_name_they_show(accounts.clone())).await;
    case("password", a_new_password_signs_everybody_out(accounts.clone())).await;
    case("disabled", disabling_signs_out_and_enabling_does_not(accounts.clone())).await;
    case("nobody", changes_of_nobody_are_refused(accounts.clone())).await;
    case("rotation", sign_ins::a_refresh_token_is_spent_once(accounts.clone())).await;
    case("reuse", sign_ins::reuse_revokes_the_family_and_no_other(accounts.clone())).await;
    case("again", sign_ins::a_lost_answer_can_be_asked_for_again(accounts.clone())).await;
    case("void", sign_ins::a_replaced_successor_revokes_the_family(accounts.clone())).await;
    case("too_late", sign_ins::a_spent_token_cannot_be_shown_for_long(accounts.clone())).await;
    case("one_rotation", sign_ins::of_many_who_rotate_one_token_lives(accounts.clone())).await;
    case("revoked", sign_ins::a_rotation_never_survives_its_revocation(accounts.clone())).await;
    case("signed_out", sign_ins::a_rotation_never_survives_a_new_password(accounts.clone())).await;
    case("expiry", sign_ins::a_refresh_token_runs_out(accounts.clone())).await;
    case("ticket", sign_ins::a_ticket_lets_one_in_once(accounts.clone())).await;
    case("one_ticket", sign_ins::of_many_who_take_a_ticket_one_gets_it(accounts.clone())).await;
    case("hit", counts::uses_are_counted_in_windows(accounts.clone())).await;
    case("hits", counts::uses_are_counted_exactly_by_many(accounts.clone())).await;
    case("lockout", counts::failures_lock_and_are_forgotten(accounts.clone())).await;
    case("lockouts", counts::failures_are_counted_exactly_by_many(accounts.clone())).await;
    case("sweep", counts::a_sweep_takes_what_has_run_out_and_nothing_else(accounts.clone())).await;
}

async fn case(name: &str, run: impl Future<Output = ()>) {
    println!("accounts suite: {name}");
    run.await;
}

fn later(wait: Duration) -> Timestamp {
    Timestamp(NOW.0 + i64::try_from(wait.as_millis()).expect("a short wait"))
}

/// Another secret each time.
fn secret() -> SecretHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    SecretHash(bytes)
}

/// A name that no other case uses.
fn name(prefix: &str) -> Username {
    let unique = Uuid::new_v4().simple().to_string();
    Username::register(&format!("{prefix}{}", &unique[..16])).expect("a valid name")
}

fn new_user(username: Username) -> NewUser {
    let id = UserId::generate();
    NewUser { tenant: TENANT, id, username, password: Some("phc".into()), admin: false, at: NOW }
}

async fn a_user(accounts: &Store) -> User {
    accounts.create_user(new_user(name("user"))).await.expect("made")
}

fn token_of(user: UserId) -> RefreshToken {
    RefreshToken {
        hash: secret(),
        family: Uuid::new_v4(),
        tenant: TENANT,
        user,
        device: Some(DeviceId::generate()),
        expires_at: later(HOUR),
    }
}

async fn sign_in(accounts: &Store, user: UserId) -> RefreshToken {
    let token = token_of(user);
    accounts.store_refresh(token.clone()).await.expect("stored");
    token
}

async fn rotate(accounts: &Store, old: SecretHash) -> Rotation {
    accounts.rotate_refresh(old, secret(), NOW, later(2 * HOUR)).await.expect("answered")
}

async fn lives(accounts: &Store, token: &RefreshToken) -> bool {
    accounts.family_lives(token.tenant, token.family, NOW).await.expect("answered")
}

/// Runs the call of each of many callers at once, and gives their results.
async fn at_once<T, F>(call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call(number));
    }
    callers.join_all().await
}

async fn one_first_administrator(accounts: Store) {
    let plain = a_user(&accounts).await;
    assert!(!plain.admin, "an ordinary account is in nobody's way");
    let made = at_once(|_| {
        let accounts = accounts.clone();
        async move { accounts.create_first_admin(new_user(name("admin"))).await.expect("answered") }
    })
    .await;
    let made: Vec<_> = made.into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "exactly one administrator: {made:?}");
    assert!(made[0].admin);
    let read = accounts.user(TENANT, made[0].id).await.expect("answered");
    assert_eq!(read.as_ref(), Some(&made[0]));
    let again = accounts.create_first_admin(new_user(name("admin"))).await.expect("answered");
    assert_eq!(again, None);
}

fn signing_key(created_at: Timestamp) -> SigningKey {
    let signs_from = Timestamp(created_at.0 + 60_000);
    SigningKey {
        id: Uuid::new_v4(),
        sealed: vec![0, 255, 7],
        created_at,
        signs_from,
        ends_at: None,
    }
}

async fn one_new_signing_key(accounts: Store) {
    assert_eq!(accounts.signing_keys(NOW).await.expect("answered"), [], "the store is empty");
    let before = Timestamp(NOW.0 - 1);
    let seen = at_once(|_| {
        let accounts = accounts.clone();
        async move {
            accounts.add_signing_key(signing_key(NOW), before, later(HOUR)).await.expect("answered")
        }
    })
    .await;
    let keys = accounts.signing_keys(NOW).await.expect("answered");
    assert_eq!(keys.len(), 1, "exactly one was added");
    assert_eq!(keys[0], SigningKey { id: keys[0].id, ..signing_key(NOW) });
    assert!(seen.iter().all(|seen| *seen == keys), "everybody is told of the one");

    let next = signing_key(later(HOUR));
    let keys =
        accounts.add_signing_key(next.clone(), NOW, later(2 * HOUR)).await.expect("answered");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], next, "newest first");
    assert_eq!(keys[1].ends_at, Some(later(2 * HOUR)));
    // A third one leaves the end of the first as it is.
    let third = signing_key(later(HOUR + HOUR / 2));
    let keys = accounts
        .add_signing_key(third.clone(), later(HOUR), later(3 * HOUR))
        .await
        .expect("answered");
    let ends: Vec<_> = keys.iter().map(|key| key.ends_at).collect();
    assert_eq!(ends, [None, Some(later(3 * HOUR)), Some(later(2 * HOUR))]);
    let keys = accounts.signing_keys(later(2 * HOUR)).await.expect("answered");
    assert_eq!(keys.len(), 2, "an ended key is not given");
}

async fn a_young_signing_key_is_kept(accounts: Store) {
    let now = later(2 * HOUR);
    let keys = accounts.signing_keys(now).await.expect("answered");
    let newest = keys[0].created_at;
    let refused = signing_key(now);
    let unless_after = Timestamp(newest.0 - 1);
    let told =
        accounts.add_signing_key(refused, unless_after, later(9 * HOUR)).await.expect("answered");
    assert_eq!(told, keys, "nothing was added and nothing ends sooner");
}

async fn names_are_unique_without_regard_to_case(accounts: Store) {
    let base = name("Ann");
    let ann = accounts.create_user(new_user(base.clone())).await.expect("made");
    for text in [base.as_str().to_owned(), base.as_str().to_uppercase(), base.folded()] {
        let error = accounts.create_user(new_user(Username::known(text.as_str()))).await;
        assert!(matches!(error, Err(AccountError::NameTaken)), "{text}: {error:?}");
        let found = accounts.credential(TENANT, &text).await.expect("answered").expect("found");
        assert_eq!(found.user, ann, "the name keeps its own case");
    }
    let missing = accounts.credential(TENANT, name("missing").as_str()).await.expect("answered");
    assert!(missing.is_none());
}

async fn of_many_who_want_a_name_one_gets_it(accounts: Store) {
    let wanted = name("wanted");
    let made = at_once(|number| {
        let accounts = accounts.clone();
        let text = if number % 2 == 0 { wanted.folded() } else { wanted.as_str().to_uppercase() };
        async move { accounts.create_user(new_user(Username::known(text.as_str()))).await }
    })
    .await;
    let (winners, losers): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(winners.len(), 1);
    assert!(losers.iter().all(|lost| matches!(lost, Err(AccountError::NameTaken))), "{losers:?}");
}

async fn an_account_is_read_back_as_it_was_made(accounts: Store) {
    let new = new_user(name("Whole"));
    let made = accounts.create_user(new.clone()).await.expect("made");
    let NewUser { tenant, id, username, admin, at, .. } = new.clone();
    let profile = Profile::default();
    let expected = User { tenant, id, username, profile, admin, disabled: false, created_at: at };
    assert_eq!(made, expected);
    assert_eq!(accounts.user(TENANT, id).await.expect("answered"), Some(made.clone()));
    let credential =
        accounts.credential(TENANT, new.username.as_str()).await.expect("answered").expect("found");
    assert_eq!((credential.user, credential.password.as_deref()), (made, Some("phc")));
    assert_eq!(accounts.user(TENANT, UserId::generate()).await.expect("answered"), None);
    // Accounts of a directory service have no password and freer names.
    let text = format!("{}@example.org", name("dir"));
    let new = NewUser { password: None, ..new_user(Username::known(text.as_str())) };
    accounts.create_user(new).await.expect("made");
    let credential = accounts.credential(TENANT, &text).await.expect("answered").expect("found");
    assert_eq!(credential.password, None);
}

async fn many_are_looked_up_at_once(accounts: Store) {
    assert_eq!(accounts.users(TENANT, &[]).await.expect("answered"), []);
    let mut made = Vec::new();
    for _ in 0..300 {
        made.push(a_user(&accounts).await);
    }
    made.sort_by_key(|user| user.id);
    for count in [1, 2, 3, 200, made.len()] {
        let mut ids: Vec<_> = made[..count].iter().map(|user| user.id).collect();
        ids.extend([UserId::generate(), ids[0], ids[count - 1]]);
        let mut found = accounts.users(TENANT, &ids).await.expect("answered");
        found.sort_by_key(|user| user.id);
        assert_eq!(found, made[..count], "each once, and nobody else");
    }
}

async fn users_are_found_by_prefix_in_order(accounts: Store) {
    let base = name("Find");
    let suffixes = ["_b", "-a", "C", "a", "%", "\u{e9}"];
    for suffix in suffixes {
        let text = format!("{base}{suffix}");
        accounts.create_user(new_user(Username::known(text.as_str()))).await.expect("made");
    }
    let find = async |prefix: String, limit| -> Vec<String> {
        let found = accounts.find_users(TENANT, &prefix, limit).await.expect("answered");
        found.iter().map(|user| user.username.as_str()[base.as_str().len()..].to_owned()).collect()
    };
    // By the code points of the folded name, whatever the locale of the database.
    assert_eq!(find(base.folded(), 10).await, ["%", "-a", "_b", "a", "C", "\u{e9}"]);
    assert_eq!(find(base.as_str().to_uppercase(), 2).await, ["%", "-a"]);
    assert_eq!(find(format!("{base}c"), 10).await, ["C"]);
    assert_eq!(find(format!("{base}_"), 10).await, ["_b"], "no character is a wildcard");
    assert_eq!(find(format!("{base}%"), 10).await, ["%"], "no character is a wildcard");
    assert_eq!(find(format!("{base}zzz"), 10).await, [""; 0]);
}

async fn a_new_password_signs_everybody_out(accounts: Store) {
    let (user, other) = (a_user(&accounts).await, a_user(&accounts).await);
    let tokens = [sign_in(&accounts, user.id).await, sign_in(&accounts, user.id).await];
    let others = sign_in(&accounts, other.id).await;
    accounts.set_password(TENANT, user.id, "new phc".into()).await.expect("set");
    let credential = accounts
        .credential(TENANT, user.username.as_str())
        .await
        .expect("answered")
        .expect("found");
    assert_eq!(credential.password.as_deref(), Some("new phc"));
    for token in &tokens {
        assert!(!lives(&accounts, token).await);
        assert_eq!(rotate(&accounts, token.hash).await, Rotation::Unknown);
    }
    assert!(lives(&accounts, &others).await, "others stay signed in");
}

async fn disabling_signs_out_and_enabling_does_not(accounts: Store) {
    let user = a_user(&accounts).await;
    let token = sign_in(&accounts, user.id).await;
    accounts.set_disabled(TENANT, user.id, false).await.expect("set");
    assert!(lives(&accounts, &token).await, "enabling revokes nothing");
    accounts.set_disabled(TENANT, user.id, true).await.expect("set");
    assert!(!lives(&accounts, &token).await);
    let disabled =
        async || accounts.user(TENANT, user.id).await.expect("answered").expect("found").disabled;
    assert!(disabled().await);
    accounts.set_disabled(TENANT, user.id, false).await.expect("set");
    assert!(!disabled().await);
}

async fn changes_of_nobody_are_refused(accounts: Store) {
    let nobody = UserId::generate();
    let refused = accounts.set_password(TENANT, nobody, "phc".into()).await;
    assert!(matches!(refused, Err(AccountError::NoSuchUser)), "{refused:?}");
    let refused = accounts.set_disabled(TENANT, nobody, true).await;
    assert!(matches!(refused, Err(AccountError::NoSuchUser)), "{refused:?}");
}

fn ticket() -> Ticket {
    Ticket {
        tenant: TENANT,
        user: UserId::generate(),
        family: Uuid::new_v4(),
        device: None,
        expires_at: later(Duration::from_secs(30)),
    }
}

//! The conformance suite of the port [`Accounts`]: what every implementation must do, also when
//! many callers do it at once. It needs an empty store that nobody else uses.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ports::Accounts;
use crate::ports::accounts::{
    AccountError, Failures, LockoutRule, NewUser, RefreshToken, Rotation, SecretHash, SigningKey,
    Ticket,
};
use crate::vocab::{DeviceId, TenantId, Timestamp, User, UserId, Username};

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
    case("prefix", users_are_found_by_prefix_in_order(accounts.clone())).await;
    case("password", a_new_password_signs_everybody_out(accounts.clone())).await;
    case("disabled", disabling_signs_out_and_enabling_does_not(accounts.clone())).await;
    case("nobody", changes_of_nobody_are_refused(accounts.clone())).await;
    case("rotation", a_refresh_token_is_spent_once(accounts.clone())).await;
    case("reuse", reuse_revokes_the_family_and_no_other(accounts.clone())).await;
    case("one_rotation", of_many_who_rotate_at_most_one_wins(accounts.clone())).await;
    case("revoked", a_rotation_never_survives_its_revocation(accounts.clone())).await;
    case("signed_out", a_rotation_never_survives_a_new_password(accounts.clone())).await;
    case("expiry", a_refresh_token_runs_out(accounts.clone())).await;
    case("ticket", a_ticket_lets_one_in_once(accounts.clone())).await;
    case("one_ticket", of_many_who_take_a_ticket_one_gets_it(accounts.clone())).await;
    case("hit", uses_are_counted_in_windows(accounts.clone())).await;
    case("hits", uses_are_counted_exactly_by_many(accounts.clone())).await;
    case("lockout", failures_lock_and_are_forgotten(accounts.clone())).await;
    case("lockouts", failures_are_counted_exactly_by_many(accounts.clone())).await;
    case("sweep", a_sweep_takes_what_has_run_out_and_nothing_else(accounts.clone())).await;
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
    assert_eq!(made, User { tenant, id, username, admin, disabled: false, created_at: at });
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

async fn a_refresh_token_is_spent_once(accounts: Store) {
    let first = sign_in(&accounts, a_user(&accounts).await.id).await;
    let hash = secret();
    let rotation =
        accounts.rotate_refresh(first.hash, hash, NOW, later(2 * HOUR)).await.expect("answered");
    let second = RefreshToken { hash, expires_at: later(2 * HOUR), ..first.clone() };
    assert_eq!(rotation, Rotation::Rotated { token: second.clone() });
    assert!(lives(&accounts, &first).await);
    let late = accounts.family_lives(TENANT, first.family, later(HOUR + HOUR / 2)).await;
    assert!(late.expect("answered"), "it lives as long as its newest token");
    assert!(matches!(rotate(&accounts, second.hash).await, Rotation::Rotated { .. }));
    assert_eq!(rotate(&accounts, secret()).await, Rotation::Unknown);
}

async fn reuse_revokes_the_family_and_no_other(accounts: Store) {
    let user = a_user(&accounts).await.id;
    let (first, other) = (sign_in(&accounts, user).await, sign_in(&accounts, user).await);
    let Rotation::Rotated { token: second } = rotate(&accounts, first.hash).await else {
        panic!("the first use rotates");
    };
    let reused = rotate(&accounts, first.hash).await;
    assert_eq!(reused, Rotation::Reused { user, family: first.family });
    assert!(!lives(&accounts, &first).await);
    assert_eq!(rotate(&accounts, second.hash).await, Rotation::Unknown, "its successor is gone");
    assert!(lives(&accounts, &other).await, "the user's other sign-in lives on");
    accounts.revoke_family(TENANT, other.family).await.expect("revoked");
    assert!(!lives(&accounts, &other).await);
    accounts.revoke_family(TENANT, other.family).await.expect("revoking again does nothing");
}

async fn of_many_who_rotate_at_most_one_wins(accounts: Store) {
    for _ in 0..8 {
        let token = sign_in(&accounts, a_user(&accounts).await.id).await;
        let rotations = at_once(|_| {
            let (accounts, old) = (accounts.clone(), token.hash);
            async move { rotate(&accounts, old).await }
        })
        .await;
        let count = |wanted: fn(&Rotation) -> bool| rotations.iter().filter(|r| wanted(r)).count();
        assert_eq!(count(|r| matches!(r, Rotation::Rotated { .. })), 1, "{rotations:?}");
        assert_eq!(count(|r| matches!(r, Rotation::Reused { .. })), 1, "{rotations:?}");
        assert!(!lives(&accounts, &token).await, "the reuse revoked the winner's token too");
    }
}

/// A successor that is stored while its family is being revoked must not outlive it.
async fn a_rotation_never_survives_its_revocation(accounts: Store) {
    for _ in 0..8 {
        let token = sign_in(&accounts, a_user(&accounts).await.id).await;
        at_once(|number| {
            let (accounts, token) = (accounts.clone(), token.clone());
            async move {
                if number == CALLERS / 2 {
                    accounts.revoke_family(TENANT, token.family).await.expect("revoked");
                } else if number == 0 {
                    follow_the_chain(&accounts, token.hash).await;
                }
            }
        })
        .await;
        assert!(!lives(&accounts, &token).await);
    }
}

/// A successor that is stored while the password is being changed must not outlive that.
async fn a_rotation_never_survives_a_new_password(accounts: Store) {
    for _ in 0..8 {
        let user = a_user(&accounts).await;
        let token = sign_in(&accounts, user.id).await;
        at_once(|number| {
            let (accounts, token, user) = (accounts.clone(), token.clone(), user.id);
            async move {
                if number == CALLERS / 2 {
                    accounts.set_password(TENANT, user, "new".into()).await.expect("set");
                } else if number == 0 {
                    follow_the_chain(&accounts, token.hash).await;
                }
            }
        })
        .await;
        assert!(!lives(&accounts, &token).await);
    }
}

/// Rotates again and again until the family is gone; not for ever, should it never go.
async fn follow_the_chain(accounts: &Store, mut hash: SecretHash) {
    for _ in 0..1_000 {
        let Rotation::Rotated { token } = rotate(accounts, hash).await else { return };
        hash = token.hash;
    }
}

async fn a_refresh_token_runs_out(accounts: Store) {
    let token = sign_in(&accounts, a_user(&accounts).await.id).await;
    let end = token.expires_at;
    assert!(!accounts.family_lives(TENANT, token.family, end).await.expect("answered"));
    let rotation = accounts.rotate_refresh(token.hash, secret(), end, later(9 * HOUR)).await;
    assert_eq!(rotation.expect("answered"), Rotation::Unknown);
    let just_before = Timestamp(end.0 - 1);
    assert!(accounts.family_lives(TENANT, token.family, just_before).await.expect("answered"));
    let elsewhere = accounts.family_lives(TENANT, Uuid::new_v4(), NOW).await;
    assert!(!elsewhere.expect("answered"));
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

async fn a_ticket_lets_one_in_once(accounts: Store) {
    for device in [None, Some(DeviceId::generate())] {
        let (hash, ticket) = (secret(), Ticket { device, ..ticket() });
        accounts.put_ticket(hash, ticket.clone()).await.expect("stored");
        assert_eq!(accounts.take_ticket(hash, NOW).await.expect("answered"), Some(ticket));
        assert_eq!(accounts.take_ticket(hash, NOW).await.expect("answered"), None);
    }
    let hash = secret();
    accounts.put_ticket(hash, ticket()).await.expect("stored");
    let late = accounts.take_ticket(hash, ticket().expires_at).await;
    assert_eq!(late.expect("answered"), None, "it has run out");
}

async fn of_many_who_take_a_ticket_one_gets_it(accounts: Store) {
    let hash = secret();
    accounts.put_ticket(hash, ticket()).await.expect("stored");
    let taken = at_once(|_| {
        let accounts = accounts.clone();
        async move { accounts.take_ticket(hash, NOW).await.expect("answered") }
    })
    .await;
    assert_eq!(taken.into_iter().flatten().count(), 1);
}

async fn uses_are_counted_in_windows(accounts: Store) {
    let (subject, window) = (name("hit").to_string(), Duration::from_secs(60));
    let hit = async |at| accounts.hit(&subject, 3, window, at).await.expect("answered");
    for _ in 0..3 {
        assert_eq!(hit(NOW).await, Ok(()));
    }
    let wait = hit(NOW).await.expect_err("a fourth use is too many");
    assert!(!wait.is_zero() && wait <= window, "{wait:?}");
    let just_before = Timestamp(later(wait).0 - 1);
    assert_eq!(hit(just_before).await, Err(Duration::from_millis(1)), "refusals extend nothing");
    assert_eq!(hit(later(wait)).await, Ok(()), "the wait it was told is enough");
    let other = accounts.hit(name("hit").as_str(), 1, window, NOW).await.expect("answered");
    assert_eq!(other, Ok(()), "subjects are counted apart");
    let none = accounts.hit(name("hit").as_str(), 0, window, NOW).await.expect("answered");
    assert!(none.is_err(), "a limit of nothing allows nothing");
}

async fn uses_are_counted_exactly_by_many(accounts: Store) {
    let (subject, max) = (name("hits").to_string(), 37);
    let passed = at_once(|_| {
        let (accounts, subject) = (accounts.clone(), subject.clone());
        async move {
            let mut passed = 0;
            for _ in 0..5 {
                let hit = accounts.hit(&subject, max, HOUR, NOW).await.expect("answered");
                passed += u32::from(hit.is_ok());
            }
            passed
        }
    })
    .await;
    assert_eq!(passed.into_iter().sum::<u32>(), max);
}

const RULE: LockoutRule =
    LockoutRule { failures: 3, window: Duration::from_secs(600), rest: Duration::from_secs(900) };
const NONE: Failures = Failures { count: 0, locked_until: None };

async fn failures_lock_and_are_forgotten(accounts: Store) {
    let subject = name("fail").to_string();
    let fail = async |at| accounts.fail(&subject, RULE, at).await.expect("answered");
    let failures = async |at| accounts.failures(&subject, at).await.expect("answered");
    let counted = |count| Failures { count, locked_until: None };
    assert_eq!(failures(NOW).await, NONE);
    assert_eq!(fail(NOW).await, counted(1));
    assert_eq!(fail(NOW).await, counted(2));
    assert_eq!(failures(NOW).await, counted(2));
    // Forgotten after the window.
    let forgotten = later(RULE.window);
    assert_eq!(failures(forgotten).await, NONE);
    assert_eq!(fail(forgotten).await, counted(1));
    assert_eq!(fail(forgotten).await, counted(2));
    // The third in a row locks, for the whole rest, and no attempt makes the rest longer.
    let until = Timestamp(later(RULE.window + RULE.rest).0);
    let locked = Failures { count: 3, locked_until: Some(until) };
    assert_eq!(fail(forgotten).await, locked);
    let just_before = Timestamp(until.0 - 1);
    assert_eq!(fail(just_before).await, locked);
    assert_eq!(failures(just_before).await, locked);
    assert_eq!(failures(until).await, NONE);
    assert_eq!(fail(until).await, counted(1), "after the rest it begins again");
    accounts.forgive(&subject).await.expect("forgiven");
    assert_eq!(failures(until).await, NONE);
    accounts.forgive(&subject).await.expect("forgiving again does nothing");
}

async fn failures_are_counted_exactly_by_many(accounts: Store) {
    let subject = name("fails").to_string();
    let rule = LockoutRule { failures: CALLERS as u32 + 1, ..RULE };
    let mut counts: Vec<_> = at_once(|_| {
        let (accounts, subject) = (accounts.clone(), subject.clone());
        async move { accounts.fail(&subject, rule, NOW).await.expect("answered").count }
    })
    .await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=CALLERS as u32).collect::<Vec<_>>(), "no failure is lost");
    let last = accounts.fail(&subject, rule, NOW).await.expect("answered");
    assert_eq!(last.locked_until, Some(later(rule.rest)));
}

async fn a_sweep_takes_what_has_run_out_and_nothing_else(accounts: Store) {
    let (start, gone) = (later(100 * HOUR), later(101 * HOUR));
    accounts.sweep(start).await.expect("swept");
    assert_eq!(accounts.sweep(start).await.expect("swept"), 0, "nothing is left to take");
    let user = a_user(&accounts).await.id;
    let (short, long) = (name("short").to_string(), name("long").to_string());
    let stay = later(102 * HOUR);
    let mut kept = Vec::new();
    for (expires_at, window, subject) in [(gone, HOUR, &short), (stay, 2 * HOUR, &long)] {
        let token = RefreshToken { expires_at, ..token_of(user) };
        accounts.store_refresh(token.clone()).await.expect("stored");
        let hash = secret();
        accounts.put_ticket(hash, Ticket { expires_at, ..ticket() }).await.expect("stored");
        accounts.hit(subject, 1, window, start).await.expect("answered").expect("the first use");
        let rule = LockoutRule { window, ..RULE };
        accounts.fail(subject, rule, start).await.expect("counted");
        kept.push((token, hash));
    }
    let keys = accounts.signing_keys(start).await.expect("answered");
    assert_eq!(keys.len(), 1, "the newest key has no end");
    let next = signing_key(start);
    accounts.add_signing_key(next.clone(), keys[0].created_at, gone).await.expect("added");

    assert_eq!(accounts.sweep(gone).await.expect("swept"), 5, "one of each");
    assert_eq!(accounts.sweep(gone).await.expect("swept"), 0);
    let (token, hash) = &kept[1];
    assert!(accounts.family_lives(TENANT, token.family, gone).await.expect("answered"));
    assert!(accounts.take_ticket(*hash, gone).await.expect("answered").is_some());
    assert!(accounts.hit(&long, 1, HOUR, gone).await.expect("answered").is_err());
    assert_eq!(accounts.failures(&long, gone).await.expect("answered").count, 1);
    assert_eq!(accounts.signing_keys(start).await.expect("answered"), [next]);
}

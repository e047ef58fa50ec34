//! Counted uses, failures, and the sweep of all that has run out.

use super::*;

pub(super) async fn uses_are_counted_in_windows(accounts: Store) {
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

pub(super) async fn uses_are_counted_exactly_by_many(accounts: Store) {
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

pub(super) async fn failures_lock_and_are_forgotten(accounts: Store) {
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

pub(super) async fn failures_are_counted_exactly_by_many(accounts: Store) {
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

pub(super) async fn a_sweep_takes_what_has_run_out_and_nothing_else(accounts: Store) {
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

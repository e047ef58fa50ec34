//! Refresh tokens, their families, and socket tickets.

use uuid::Uuid;

use super::*;
use crate::limits::REFRESH_AGAIN;

pub(super) async fn a_refresh_token_is_spent_once(accounts: Store) {
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

pub(super) async fn reuse_revokes_the_family_and_no_other(accounts: Store) {
    let user = a_user(&accounts).await.id;
    let (first, other) = (sign_in(&accounts, user).await, sign_in(&accounts, user).await);
    let Rotation::Rotated { token: second } = rotate(&accounts, first.hash).await else {
        panic!("the first use rotates");
    };
    let third = successor(&accounts, second.hash).await;
    let reused = rotate(&accounts, first.hash).await;
    assert_eq!(reused, Rotation::Reused { user, family: first.family });
    assert!(!lives(&accounts, &first).await);
    for gone in [first.hash, second.hash, third] {
        assert_eq!(rotate(&accounts, gone).await, Rotation::Unknown, "all of it is gone");
    }
    assert!(lives(&accounts, &other).await, "the user's other sign-in lives on");
    accounts.revoke_family(TENANT, other.family).await.expect("revoked");
    assert!(!lives(&accounts, &other).await);
    accounts.revoke_family(TENANT, other.family).await.expect("revoking again does nothing");
}

pub(super) async fn a_lost_answer_can_be_asked_for_again(accounts: Store) {
    let mut shown = sign_in(&accounts, a_user(&accounts).await.id).await;
    let family = shown.family;
    for _ in 0..3 {
        // Twice the answer does not arrive.
        let (_, _) = (rotate(&accounts, shown.hash).await, rotate(&accounts, shown.hash).await);
        let Rotation::Rotated { token } = rotate(&accounts, shown.hash).await else {
            panic!("its successor was never shown");
        };
        assert_eq!((token.family, token.user, token.device), (family, shown.user, shown.device));
        assert!(lives(&accounts, &token).await);
        shown = token;
    }
}

pub(super) async fn a_replaced_successor_revokes_the_family(accounts: Store) {
    let user = a_user(&accounts).await.id;
    let first = sign_in(&accounts, user).await;
    let replaced = successor(&accounts, first.hash).await;
    let second = successor(&accounts, first.hash).await;
    let reused = rotate(&accounts, replaced).await;
    assert_eq!(reused, Rotation::Reused { user, family: first.family });
    assert!(!lives(&accounts, &first).await);
    assert_eq!(rotate(&accounts, second).await, Rotation::Unknown);

    // The same after the other successor was used.
    let first = sign_in(&accounts, user).await;
    let replaced = successor(&accounts, first.hash).await;
    let second = successor(&accounts, first.hash).await;
    successor(&accounts, second).await;
    let reused = rotate(&accounts, replaced).await;
    assert_eq!(reused, Rotation::Reused { user, family: first.family });
    assert!(!lives(&accounts, &first).await);
}

pub(super) async fn a_spent_token_cannot_be_shown_for_long(accounts: Store) {
    let user = a_user(&accounts).await.id;
    let token = sign_in(&accounts, user).await;
    let rotate_at = |now| accounts.rotate_refresh(token.hash, secret(), now, later(2 * HOUR));
    successor(&accounts, token.hash).await;
    let just_before = Timestamp(later(REFRESH_AGAIN).0 - 1);
    let again = rotate_at(just_before).await.expect("answered");
    assert!(matches!(again, Rotation::Rotated { .. }), "{again:?}");
    // The time began when it was spent first.
    let late = rotate_at(later(REFRESH_AGAIN)).await.expect("answered");
    assert_eq!(late, Rotation::Reused { user, family: token.family });
    assert!(!lives(&accounts, &token).await);
}

pub(super) async fn of_many_who_rotate_one_token_lives(accounts: Store) {
    for _ in 0..8 {
        let token = sign_in(&accounts, a_user(&accounts).await.id).await;
        let rotations = at_once(|_| {
            let (accounts, old) = (accounts.clone(), token.hash);
            async move { rotate(&accounts, old).await }
        })
        .await;
        assert!(lives(&accounts, &token).await, "nobody showed anything that was void");
        let mut used = 0;
        for rotation in rotations {
            let Rotation::Rotated { token } = rotation else { panic!("refused: {rotation:?}") };
            used += usize::from(matches!(
                rotate(&accounts, token.hash).await,
                Rotation::Rotated { .. }
            ));
        }
        assert!(used <= 1, "{used} successors of one token could be used");
        assert!(
            !lives(&accounts, &token).await,
            "the others were void, and showing one revoked all"
        );
    }
}

async fn successor(accounts: &Store, old: SecretHash) -> SecretHash {
    match rotate(accounts, old).await {
        Rotation::Rotated { token } => token.hash,
        other => panic!("no successor: {other:?}"),
    }
}

/// A successor that is stored while its family is being revoked must not outlive it.
pub(super) async fn a_rotation_never_survives_its_revocation(accounts: Store) {
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
pub(super) async fn a_rotation_never_survives_a_new_password(accounts: Store) {
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

pub(super) async fn a_refresh_token_runs_out(accounts: Store) {
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

pub(super) async fn a_ticket_lets_one_in_once(accounts: Store) {
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

pub(super) async fn of_many_who_take_a_ticket_one_gets_it(accounts: Store) {
    let hash = secret();
    accounts.put_ticket(hash, ticket()).await.expect("stored");
    let taken = at_once(|_| {
        let accounts = accounts.clone();
        async move { accounts.take_ticket(hash, NOW).await.expect("answered") }
    })
    .await;
    assert_eq!(taken.into_iter().flatten().count(), 1);
}

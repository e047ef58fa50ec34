//! Profiles: changed, read with their account, and found by.

use super::*;

fn shown(text: &str) -> Option<Option<DisplayName>> {
    Some(DisplayName::parse(text).expect("a name"))
}

fn about(text: &str) -> Option<Option<About>> {
    Some(About::parse(text).expect("a line"))
}

async fn change(accounts: &Store, user: &User, change: ProfileChange) -> User {
    accounts.set_profile(TENANT, user.id, change).await.expect("changed")
}

pub(super) async fn a_profile_is_changed_in_parts(accounts: Store) {
    let user = a_user(&accounts).await;
    let token = sign_in(&accounts, user.id).await;
    let name = change(&accounts, &user, ProfileChange { name: shown("Ada É"), about: None }).await;
    assert_eq!(name.profile, Profile { name: shown("Ada É").flatten(), about: None });
    let both = ProfileChange { name: None, about: about("Likes engines") };
    let both = change(&accounts, &user, both).await;
    assert_eq!(both.profile.name, name.profile.name, "what is not named stays");
    assert_eq!(both.profile.about, about("Likes engines").flatten());
    assert_eq!(User { profile: Profile::default(), ..both.clone() }, user, "and all the rest");
    for read in [
        accounts.user(TENANT, user.id).await.expect("answered"),
        accounts.users(TENANT, &[user.id]).await.expect("answered").pop(),
        accounts.find_users(TENANT, user.username.as_str(), 1).await.expect("answered").pop(),
        accounts
            .credential(TENANT, user.username.as_str())
            .await
            .expect("answered")
            .map(|at| at.user),
    ] {
        assert_eq!(read, Some(both.clone()));
    }
    let same = change(&accounts, &user, ProfileChange::default()).await;
    assert_eq!(same, both, "nothing to change");
    let none = change(&accounts, &user, ProfileChange { name: shown(" "), about: about("") }).await;
    assert_eq!(none, user, "removed");
    assert!(lives(&accounts, &token).await, "nobody is signed out by it");
    let nobody = accounts.set_profile(TENANT, UserId::generate(), ProfileChange::default()).await;
    assert!(matches!(nobody, Err(AccountError::NoSuchUser)), "{nobody:?}");
}

pub(super) async fn nobody_is_shown_as_another_username(accounts: Store) {
    let (user, other) = (a_user(&accounts).await, a_user(&accounts).await);
    let as_other = shown(&other.username.as_str().to_uppercase());
    let passing = ProfileChange { name: as_other, about: about("not to be kept") };
    let refused = accounts.set_profile(TENANT, user.id, passing).await;
    assert!(matches!(refused, Err(AccountError::NameTaken)), "{refused:?}");
    assert_eq!(accounts.user(TENANT, user.id).await.expect("answered"), Some(user.clone()));
    for unseen in ["\u{200d}", "\u{fe0f}\u{200c}"] {
        let name = shown(&format!("{unseen}{}{unseen}", other.username));
        let passing = ProfileChange { name, about: None };
        let refused = accounts.set_profile(TENANT, user.id, passing).await;
        assert!(matches!(refused, Err(AccountError::NameTaken)), "{refused:?}");
    }
    let own = shown(&user.username.as_str().to_uppercase());
    change(&accounts, &user, ProfileChange { name: own, about: None }).await;
    let same = shown("The same name");
    for user in [&user, &other] {
        change(&accounts, user, ProfileChange { name: same.clone(), about: None }).await;
    }
}

pub(super) async fn people_are_found_by_the_name_they_show(accounts: Store) {
    let base = name("Shown");
    let (first, second) = (a_user(&accounts).await, a_user(&accounts).await);
    let both = accounts.create_user(new_user(Username::known(format!("{base}z")))).await;
    let both = both.expect("made");
    for (user, suffix) in [(&first, "É xΣ"), (&second, "_%"), (&both, "b")] {
        let name = shown(&format!("{base}{suffix}"));
        change(&accounts, user, ProfileChange { name, about: None }).await;
    }
    let find = async |prefix: String, limit| {
        let found = accounts.find_users(TENANT, &prefix, limit).await.expect("answered");
        found.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    let mut all = [&first, &second, &both];
    all.sort_by_key(|user| user.username.folded());
    let ids = all.map(|user| user.id);
    assert_eq!(find(base.folded(), 10).await, ids, "each once, by username");
    // The first by each of them, of which as many as are asked for.
    assert_eq!(find(base.as_str().to_uppercase(), 2).await, [both.id, second.id]);
    assert_eq!(find(format!("{base}é"), 10).await, [first.id]);
    assert_eq!(find(format!("{base}É XΣ"), 10).await, [first.id]);
    assert_eq!(find(format!("{base}_"), 10).await, [second.id], "no character is a wildcard");
    change(&accounts, &first, ProfileChange { name: Some(None), about: None }).await;
    assert!(find(format!("{base}é"), 10).await.is_empty(), "not by a name of before");
}

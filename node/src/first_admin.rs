//! Administrators that the node itself makes: the first one of an installation, and those of
//! `parlance admin`. A generated password is shown once, on standard error, and is never logged.

use parlance_actors::ports::AccountError;
use parlance_actors::ports::Accounts;
use parlance_actors::ports::accounts::NewUser;
use parlance_actors::vocab::{TenantId, Timestamp, UserId, Username};
use parlance_gateway::config::PasswordCost;
use parlance_gateway::hash_password;

use crate::failure::{Cause, Failure};

/// The name of the first administrator.
const NAME: &str = "admin";
/// A generated password: 20 of 54 characters are 115 bits.
const PASSWORD_CHARS: usize = 20;
/// Letters and digits that nobody mistakes for one another.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";

/// Makes the first administrator if the tenant has none, and shows the name and the password.
pub(crate) async fn ensure(accounts: &dyn Accounts, cost: PasswordCost) -> Result<(), Failure> {
    let password = generate_password()?;
    let hash = hash_password(cost, &password);
    let mut name = NAME.to_owned();
    loop {
        let new = new_admin(Username::known(name.clone()), hash.clone());
        match accounts.create_first_admin(new).await {
            Ok(None) => return Ok(()),
            Ok(Some(user)) => {
                show(user.username.as_str(), &password, "first administrator");
                return Ok(());
            }
            // Somebody who is no administrator has the name.
            Err(AccountError::NameTaken) if name == NAME => {
                name = format!("{NAME}-{}", &generate_password()?[..6]);
            }
            Err(error) => return Err(account_failure(&error)),
        }
    }
}

/// Makes one more administrator.
pub(crate) async fn create(
    accounts: &dyn Accounts,
    name: &str,
    cost: PasswordCost,
) -> Result<(), Failure> {
    let name = Username::register(name)
        .map_err(|refusal| Failure::new(Cause::Other, refusal.detail.into_owned()))?;
    let password = generate_password()?;
    let new = new_admin(name, hash_password(cost, &password));
    let user = accounts.create_user(new).await.map_err(|error| account_failure(&error))?;
    show(user.username.as_str(), &password, "administrator");
    Ok(())
}

/// Gives an account a new password and ends all of its sign-ins.
pub(crate) async fn reset_password(
    accounts: &dyn Accounts,
    name: &str,
    cost: PasswordCost,
) -> Result<(), Failure> {
    let found = accounts.credential(TenantId::MAIN, name).await;
    let found = found.map_err(|error| account_failure(&error))?;
    let Some(credential) = found else {
        return Err(Failure::new(Cause::Other, format!("there is no account {name:?}")));
    };
    let password = generate_password()?;
    let hash = hash_password(cost, &password);
    let set = accounts.set_password(TenantId::MAIN, credential.user.id, hash).await;
    set.map_err(|error| account_failure(&error))?;
    show(credential.user.username.as_str(), &password, "account");
    Ok(())
}

fn new_admin(username: Username, hash: String) -> NewUser {
    NewUser {
        tenant: TenantId::MAIN,
        id: UserId::generate(),
        username,
        password: Some(hash),
        admin: true,
        at: Timestamp::now(),
    }
}

fn show(name: &str, password: &str, what: &str) {
    eprintln!("{what}: {name}\npassword: {password}\nThe password is shown this once only.");
}

/// A password that the rules for passwords allow.
fn generate_password() -> Result<String, Failure> {
    loop {
        let mut bytes = [0; 4 * PASSWORD_CHARS];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| Failure::new(Cause::Other, "the system gives no random numbers"))?;
        // Bytes at the upper end would make the first letters more likely.
        let fair = u8::MAX - u8::MAX % ALPHABET.len() as u8;
        let chars = bytes.iter().filter(|byte| **byte < fair);
        let chars = chars.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        let password = chars.take(PASSWORD_CHARS).collect::<String>();
        let has = |class: fn(&char) -> bool| password.chars().any(|c| class(&c));
        if password.len() == PASSWORD_CHARS
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
            && has(char::is_ascii_digit)
        {
            return Ok(password);
        }
    }
}

fn account_failure(error: &AccountError) -> Failure {
    let cause = match error {
        AccountError::Unavailable(_) => Cause::Database,
        AccountError::NameTaken | AccountError::NoSuchUser | AccountError::Busy => Cause::Other,
    };
    Failure::new(cause, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_passwords_follow_the_rules_and_do_not_repeat() {
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let password = generate_password().expect("random numbers");
            assert_eq!(password.len(), PASSWORD_CHARS);
            assert!(password.bytes().all(|byte| ALPHABET.contains(&byte)), "{password}");
            assert!(password.chars().any(|c| c.is_ascii_uppercase()), "{password}");
            assert!(password.chars().any(|c| c.is_ascii_lowercase()), "{password}");
            assert!(password.chars().any(|c| c.is_ascii_digit()), "{password}");
            assert!(seen.insert(password));
        }
    }
}

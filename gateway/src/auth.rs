//! Who is there: accounts, passwords, tokens, tickets and the keys that sign them.
//! It knows no HTTP; answers are values and refusals.

mod bearer;
mod keys;
mod lockout;
mod passwords;
mod secret;
mod sign_in;
mod tokens;

pub use keys::KeyError;
pub use passwords::hash_password;
pub use secret::{ClusterSecret, WeakSecret};

pub(crate) use bearer::{Bearer, Watched};
pub(crate) use sign_in::{Auth, Pair, check_name};
#[cfg(feature = "fuzzing")]
pub(crate) use tokens::{key_of, verify};

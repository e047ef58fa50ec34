//! Values that must never be printed: secrets, and URLs that may hold a password.
//!
//! Neither type gives its content to `Debug`, `Display` or `Serialize`. The one way to the
//! content is `reveal`, so that every use can be found by its name.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "***";

/// Parameters of a database URL whose values may be shown. All others are masked, because any of
/// them may hold a password.
const URL_PARAMETERS_SHOWN: [&str; 9] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "mode",
    "port",
    "sslmode",
    "sslrootcert",
    "user",
];

/// A secret: set and used, never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The content, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(content: String) -> Self {
        Self(content)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A URL that may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    /// The whole URL, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked_url(&self.0))
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked_url(&self.0))
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&masked_url(&self.0))
    }
}

/// The URL without its password and without the values of parameters that may hold one. A text
/// that is not a URL is masked whole: somebody may have put a password in the wrong place.
pub(crate) fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return MASK.to_owned();
    };
    // The last `@` ends the user and password even when an unescaped password holds `/`, `?` or `@`.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => match user.split_once(':') {
            Some((name, _)) => (format!("{name}:{MASK}@"), rest),
            None => (format!("{user}@"), rest),
        },
        None => (String::new(), rest),
    };
    let (place, parameters) = match rest.split_once('?') {
        Some((place, parameters)) => (place, Some(parameters)),
        None => (rest, None),
    };
    let mut masked = format!("{scheme}://{user}{place}");
    for (n, parameter) in parameters.into_iter().flat_map(|all| all.split('&')).enumerate() {
        masked.push(if n == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if !URL_PARAMETERS_SHOWN.contains(&name) => {
                masked.push_str(&format!("{name}={MASK}"));
            }
            Some(_) => masked.push_str(parameter),
            None => masked.push_str(MASK),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(
            masked_url("postgres://parlance:hunter2@db.example:5432/parlance?sslmode=require"),
            "postgres://parlance:***@db.example:5432/parlance?sslmode=require"
        );
        assert_eq!(masked_url("sqlite:///var/lib/p/main.db"), "sqlite:///var/lib/p/main.db");
        assert_eq!(masked_url("postgres://parlance@db/p"), "postgres://parlance@db/p");
    }

    #[test]
    fn a_password_in_an_odd_place_is_not_shown_either() {
        for url in [
            "postgres://u:hunter2/x@db/p",
            "postgres://u:hunter2?x@db/p",
            "postgres://u:a@hunter2@db/p",
            "postgres://db/p?user=u&password=hunter2",
            "postgres://db/p?sslpassword=hunter2&sslmode=require",
            "postgres://db/p?hunter2",
            "hunter2",
        ] {
            let shown = masked_url(url);
            assert!(!shown.contains("hunter2"), "{url} is shown as {shown}");
        }
    }

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let secret = Secret("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).expect("text"), "\"***\"");
        let url = SecretUrl("postgres://u:hunter2@db/p".to_owned());
        let forms = format!("{url} {url:?} {}", serde_json::to_string(&url).expect("text"));
        assert!(!forms.contains("hunter2"), "{forms}");
    }
}

//! Which web pages may use a credential that the browser sends by itself.

use http::HeaderMap;
use parlance_actors::vocab::Refusal;

/// How a credential came with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The page's own code gave it: a bearer header, a ticket, a token.
    Explicit,
    /// The browser added it by itself: a cookie. Any page can make it do so.
    Ambient,
}

/// Refuses a browser's page from elsewhere when the credential is ambient. Requests without
/// `Origin` are not from a page's script.
///
/// # Errors
/// `forbidden` with the origin.
pub fn check(
    headers: &HeaderMap,
    credential: Credential,
    allowed: &[String],
) -> Result<(), Refusal> {
    let Some(origin) = headers.get(http::header::ORIGIN) else { return Ok(()) };
    if credential == Credential::Explicit {
        return Ok(());
    }
    let origin = origin.to_str().unwrap_or("null");
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let of_page = origin.split_once("://").map(|(_, host)| host);
    let same = of_page.is_some() && of_page == host;
    if same || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let origin: String = origin.chars().take(100).collect();
    Err(Refusal::forbidden(format!("pages of {origin} may not use this sign-in")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(origin: &'static str, credential: Credential) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", http::HeaderValue::from_static("chat.example.org"));
        headers.insert("origin", http::HeaderValue::from_static(origin));
        check(&headers, credential, &["https://app.example.org".into()]).is_err()
    }

    #[test]
    fn a_foreign_page_may_not_use_what_the_browser_adds_by_itself() {
        assert!(refused("https://evil.example", Credential::Ambient));
        assert!(refused("null", Credential::Ambient));
        assert!(!refused("https://chat.example.org", Credential::Ambient));
        assert!(!refused("https://app.example.org", Credential::Ambient));
        assert!(!refused("https://evil.example", Credential::Explicit));
        check(&HeaderMap::new(), Credential::Ambient, &[]).expect("no page");
    }
}

//! What users say of themselves and everybody sees: a name to be shown, and a line about them.

use std::sync::Arc;

use super::refusal::Refusal;
use super::room::RoomName;
use crate::limits;

/// What a user says of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// The name to be shown beside the username.
    pub name: Option<DisplayName>,
    /// A line about them.
    pub about: Option<About>,
}

/// A name to be shown: 1 to 50 characters in one line, trimmed. Not unique, and no other user's
/// username.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DisplayName(Arc<str>);

/// A line about a user: 1 to 200 characters in one line, trimmed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct About(Arc<str>);

impl DisplayName {
    /// Checks and trims a name; a blank one is none.
    ///
    /// # Errors
    /// `bad_request` that names the rule which the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        Ok(line("name", text, limits::DISPLAY_NAME_CHARS_MAX)?.map(Self))
    }

    /// A name that the database has.
    #[must_use]
    pub fn known(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which it is looked for: as [`Self::fold`] makes it.
    #[must_use]
    pub fn folded(&self) -> String {
        Self::fold(&self.0)
    }

    /// A name, or the beginning of one, without case.
    #[must_use]
    pub fn fold(text: &str) -> String {
        RoomName::fold(text)
    }

    /// The [folded](super::Username::folded) username that it looks like, if somebody has that: without
    /// what joins and varies the characters around it and is not seen by itself.
    #[must_use]
    pub fn looks_like(&self) -> String {
        self.0.chars().filter(|c| !joins(*c)).collect::<String>().to_lowercase()
    }
}

impl About {
    /// Checks and trims a line; a blank one is none.
    ///
    /// # Errors
    /// `bad_request` that names the rule which the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        Ok(line("about", text, limits::ABOUT_CHARS_MAX)?.map(Self))
    }

    /// A line that the database has.
    #[must_use]
    pub fn known(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One line of text that shows as what it is; `None` when nothing of it would be seen.
fn line(field: &str, text: &str, max: usize) -> Result<Option<Arc<str>>, Refusal> {
    let text = text.trim();
    let length = text.chars().count();
    if length > max {
        let detail = format!("{field} has {length} characters; allowed are up to {max}");
        return Err(Refusal::bad_request(detail));
    }
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(breaks) {
        let detail = format!("{field} holds a control character; allowed is one line of text");
        return Err(Refusal::bad_request(detail));
    }
    if let Some(bad) = text.chars().find(|c| misleads(*c)) {
        let detail = format!(
            "{field} holds U+{:04X}, which is no text, is not seen or turns the direction of text; leave it out",
            u32::from(bad)
        );
        return Err(Refusal::bad_request(detail));
    }
    Ok(text.chars().any(|c| !c.is_whitespace() && !joins(c)).then(|| text.into()))
}

/// What makes one name look like another: characters that turn the direction of text (Unicode UAX #9), that
/// have no width, or are blank and no spaces; and noncharacters (Unicode, section 23.7).
const fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    ) || c as u32 & 0xfffe == 0xfffe
}

/// Joiners and variation selectors, which emoji and some scripts need, and which nobody sees.
const fn joins(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{200c}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Option<String>, String> {
        let parsed = DisplayName::parse(text).map_err(|refusal| refusal.detail.to_string())?;
        Ok(parsed.map(|name| name.as_str().to_owned()))
    }

    #[test]
    fn a_name_is_one_line_that_can_be_seen() {
        for good in ["Ada Lovelace", "é", "李小龍", "Zoë 👩‍🚀", "می‌خواهم", "O'Brien <3"]
        {
            assert_eq!(name(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(name("  Ada \t"), Ok(Some("Ada".to_owned())), "trimmed");
        for blank in ["", "   ", "\u{fe0f}", "\u{200d} \u{200c}"] {
            assert_eq!(name(blank), Ok(None), "{blank:?}");
        }
        assert_eq!(name(&"é".repeat(50)), Ok(Some("é".repeat(50))), "characters, not bytes");
        let long = name(&"x".repeat(51)).expect_err("too long");
        assert!(long.contains("51 characters; allowed are up to 50"), "{long}");
        for bad in ["a\nb", "a\u{0}b", "a\u{2028}b"] {
            assert!(name(bad).expect_err("no line").contains("control character"), "{bad:?}");
        }
        let turned = name("ada\u{202e}nimda").expect_err("turned");
        assert!(turned.contains("U+202E"), "{turned}");
        for unseen in
            ['\u{ad}', '\u{200b}', '\u{3164}', '\u{2800}', '\u{e0041}', '\u{10ffff}', '\u{fffe}']
        {
            assert!(name(&format!("bob{unseen}")).is_err(), "{unseen:?}");
        }
    }

    #[test]
    fn a_name_is_compared_as_it_is_seen_and_found_without_case() {
        let parsed = |text| DisplayName::parse(text).expect("a name").expect("seen");
        assert_eq!(parsed("Bob\u{200d}\u{fe0f}").looks_like(), "bob");
        assert_eq!(parsed("ΟΔΥΣΣΕΥΣ").folded(), "οδυσσευσ");
        assert!(parsed("ΟΔΥΣΣΕΥΣ").folded().starts_with(&DisplayName::fold("ΟΔΥΣ")));
    }

    #[test]
    fn a_line_about_somebody_may_be_longer() {
        let parse = |text: &str| About::parse(text).map(|about| about.is_some());
        assert_eq!(parse(&"x".repeat(200)), Ok(true));
        assert!(parse(&"x".repeat(201)).is_err() && parse("two\nlines").is_err());
        assert_eq!(parse(" "), Ok(false));
    }
}

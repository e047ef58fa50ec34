//! Whom a text mentions: `@name`, not inside a word, names without case. The web client has the same
//! rule (`gateway/web/src/sync/mentions.ts`). Whether there is somebody of that name, and whether
//! they are in the room, is not known here.

use crate::limits;

/// The names that a text mentions, folded, each once and in their order: the first
/// [`MENTIONS_MAX`](limits::MENTIONS_MAX) of them.
///
/// A name is the longest run of letters a to z, digits, `_` and `-` behind an `@`. Neither before the
/// `@` nor behind the name stands a letter or digit of any script or `_`, and before the `@` no `-`
/// and no other `@`. A longer word behind a `-` is left off: in `@ann-é` the name is `ann`.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut from = 0;
    while names.len() < limits::MENTIONS_MAX
        && let Some(at) = text[from..].find('@').map(|found| from + found)
    {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        from = at + 1;
        let holds_on = |c: char| is_of_a_word(c) || c == '@' || c == '-';
        if before.chars().next_back().is_some_and(holds_on) {
            continue;
        }
        let Some(name) = name_at_the_start_of(behind) else { continue };
        from += name.len();
        let folded = name.to_ascii_lowercase();
        if name.len() <= limits::USERNAME_CHARS_MAX && !names.contains(&folded) {
            names.push(folded);
        }
    }
    names
}

fn name_at_the_start_of(text: &str) -> Option<&str> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let end = text.bytes().position(|byte| !is_of_a_name(byte)).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    let name = match rest.chars().next() {
        Some(next) if is_of_a_word(next) => &run[..run.rfind('-')?],
        _ => run,
    };
    (!name.is_empty()).then_some(name)
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `mentions.test.ts`.
    #[test]
    fn a_name_behind_an_at_is_a_mention_unless_it_is_part_of_a_word() {
        let cases = [
            ("@ann", true),
            ("hi @Ann!", true),
            ("(@ANN)", true),
            ("@ann, @bob", true),
            ("@ann.", true),
            ("line\n@ann", true),
            ("@ann@bob", true),
            ("@ann-é", true),
            ("@bob @ann", true),
            ("mail ann@ann.org", false),
            ("x@ann", false),
            ("-@ann", false),
            ("@@ann", false),
            ("@annabel", false),
            ("@ann_", false),
            ("@ann-b", false),
            ("@ann-", false),
            ("ann", false),
            ("é@ann", false),
            ("@anné", false),
            ("का@ann", false),
            ("@", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(names(text).contains(&"ann".to_owned()), expected, "{text:?}");
        }
        assert_eq!(names("@ann-bé @--é"), ["ann", "-"]);
    }

    #[test]
    fn names_come_once_in_their_order_and_folded() {
        assert_eq!(names("@Bob and @ann, @BOB: @a-b_9"), ["bob", "ann", "a-b_9"]);
    }

    #[test]
    fn only_so_many_names_count() {
        let most = limits::MENTIONS_MAX;
        let text: String = (0..most + 5).map(|n| format!("@user{n} @USER{n} ")).collect();
        let found = names(&text);
        assert_eq!(found.len(), most);
        assert_eq!(found.last(), Some(&format!("user{}", most - 1)));
        // What is too long to be anybody's does not take a place.
        let long = "x".repeat(limits::USERNAME_CHARS_MAX + 1);
        assert_eq!(names(&format!("@{long} @ann")), ["ann"]);
    }
}

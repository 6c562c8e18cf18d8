//! Text from outside on its way to a terminal or a log.

use std::fmt::Write as _;

/// `text` with escapes in place of everything that could steer a terminal or fake a log line.
///
/// Control characters (C0, DEL, C1, so ESC, CR, LF and tab too), the bidirectional controls and the
/// line and paragraph separators become `\u{..}`; everything else stays as it is.
///
/// ```
/// assert_eq!(pgarrow_protocol::escape_control("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\u{a}c");
/// ```
///
/// Source: "Trojan Source", <https://www.unicode.org/reports/tr9/>, section 2 lists the
/// bidirectional controls.
pub fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// As [`escape_control`], cut to about a line: for text from a peer that is not authenticated.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{} …", escape_control(text.get(..end).unwrap_or_default())),
        None => escape_control(text),
    }
}

fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "relation \"käse\" does not exist", "日本語", "a\u{fffd}b", "\\u{1b}"] {
            assert_eq!(escape_control(text), text);
        }
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (text, escaped) in [
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\r\nb", "a\\u{d}\\u{a}b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}cba", "\\u{202e}cba"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(escape_control(text), escaped);
        }
    }

    #[test]
    fn long_words_of_strangers_are_cut() {
        assert_eq!(shortened("a\u{1b}b"), "a\\u{1b}b");
        assert!(shortened(&"é".repeat(10_000)).chars().count() < 210);
    }
}

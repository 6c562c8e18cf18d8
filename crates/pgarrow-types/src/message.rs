//! A text for people that names options as data, so that each program can show them in its own words.

use std::fmt;

use crate::hint::{CallName, Hint, OptionName};

/// A text for people, with [`Hint`]s in it. [`Display`](fmt::Display) names options as this library does,
/// [`with_words`](Self::with_words) in the caller's words. [`message!`](crate::message!) makes one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message(Vec<Piece>);

/// A piece of a [`Message`].
#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Hint(Hint),
}

impl Message {
    /// Appends something.
    pub fn push(&mut self, behind: impl Into<Self>) {
        for piece in behind.into().0 {
            // Equal texts stay equal, whatever pieces they are made of.
            if let Piece::Text(more) = &piece
                && let Some(Piece::Text(text)) = self.0.last_mut()
            {
                text.push_str(more);
            } else {
                self.0.push(piece);
            }
        }
    }

    /// The same, with something in front of it.
    #[must_use]
    pub fn behind(self, front: impl Into<Self>) -> Self {
        let mut message = front.into();
        message.push(self);
        message
    }

    /// Joins several, with `between` between them.
    pub fn join(messages: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut all = Self::default();
        for (index, message) in messages.into_iter().enumerate() {
            all.push(if index == 0 { "" } else { between });
            all.push(message);
        }
        all
    }

    /// The rest behind this text, if the message begins with it.
    pub fn strip_prefix(&self, front: &str) -> Option<Self> {
        let (Piece::Text(text), behind) = self.0.split_first()? else { return None };
        let mut message = Self::from(text.strip_prefix(front)?);
        message.0.extend_from_slice(behind);
        Some(message)
    }

    /// The hints, in the order of the text.
    pub fn hints(&self) -> impl Iterator<Item = &Hint> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Hint(hint) => Some(hint),
        })
    }

    /// The text, with the caller's words for each hint.
    pub fn with_words(&self, words: &dyn Fn(&Hint) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Hint(hint) => words(hint),
        });
        pieces.collect()
    }

    /// Whether the text, in this library's words, contains this.
    pub fn contains(&self, text: &str) -> bool {
        self.to_string().contains(text)
    }

    /// Whether the text, in this library's words, begins with this.
    pub fn starts_with(&self, text: &str) -> bool {
        self.to_string().starts_with(text)
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_words(&Hint::to_string))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self(if text.is_empty() { Vec::new() } else { vec![Piece::Text(text)] })
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<fmt::Arguments<'_>> for Message {
    fn from(text: fmt::Arguments<'_>) -> Self {
        text.to_string().into()
    }
}

impl From<&Self> for Message {
    fn from(message: &Self) -> Self {
        message.clone()
    }
}

impl From<Hint> for Message {
    fn from(hint: Hint) -> Self {
        Self(vec![Piece::Hint(hint)])
    }
}

impl From<OptionName> for Message {
    fn from(option: OptionName) -> Self {
        Hint::Choice { option, values: Vec::new() }.into()
    }
}

impl From<CallName> for Message {
    fn from(call: CallName) -> Self {
        Hint::from(call).into()
    }
}

impl PartialEq<str> for Message {
    fn eq(&self, text: &str) -> bool {
        self.to_string().as_str() == text
    }
}

impl PartialEq<String> for Message {
    fn eq(&self, text: &String) -> bool {
        self == text.as_str()
    }
}

impl PartialEq<&str> for Message {
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Message {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A [`Message`] of texts, options and hints: `message!["allow more memory (", MEMORY, ")"]`.
#[macro_export]
macro_rules! message {
    ($($piece:expr),+ $(,)?) => {{
        let mut message = $crate::Message::default();
        $(message.push($piece);)+
        message
    }};
}

#[cfg(test)]
mod tests {
    use crate::hint::option::{NAN, NUMERIC, SPLIT_ON};

    use super::*;

    #[test]
    fn a_text_is_told_in_the_words_of_whoever_tells_it() {
        let name = "t";
        let message = message![format_args!("{name}: choose "), NAN.to("null"), " or ", NUMERIC.to("text")];
        assert_eq!(message, "t: choose nan=null or numeric=text");
        let shout = |hint: &Hint| format!("{}!", hint.option().unwrap().as_str().to_uppercase());
        assert_eq!(message.with_words(&shout), "t: choose NAN! or NUMERIC!");
        assert_eq!(message.hints().cloned().collect::<Vec<_>>(), [NAN.to("null"), NUMERIC.to("text")]);
        let behind = Message::from(SPLIT_ON).behind("split (");
        assert_eq!(message![behind, ")"], "split (option split_on)");
        let joined = Message::join([Message::from("a"), SPLIT_ON.into(), "b".into()], ", ");
        assert_eq!(joined, "a, option split_on, b");
        assert_eq!(joined.strip_prefix("a, ").unwrap(), "option split_on, b");
        assert_eq!(joined.strip_prefix("a, option"), None);
    }

    #[test]
    fn equal_texts_are_equal_messages() {
        assert_eq!(message!["a", String::new(), "b"], Message::from("ab"));
        assert!(message![""].is_empty());
    }
}

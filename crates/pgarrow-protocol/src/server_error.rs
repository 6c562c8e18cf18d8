//! The content of an ErrorResponse or a NoticeResponse from PostgreSQL.
//!
//! ```text
//! body   field* 00
//! field  u8 type, then a zero-terminated string
//! ```
//!
//! The reader is lenient: a report with a missing code, a missing terminator or repeated fields is still a
//! report, and its text is worth more than an error about its form. Only its size is limited, since 64
//! notices are kept, and since an error may come from a server that is not authenticated.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-error-fields.html>.

use crate::cursor::Cursor;
use crate::text::escape_control;

/// An error or a notice from the server, field by field.
///
/// The texts are as the server sent them, in the language of its `lc_messages`. Bytes that are not UTF-8 are
/// replaced, and each text is cut after 16 KiB. They may hold control characters.
/// [`Display`](std::fmt::Display) escapes them and shows 2,000 characters of each; pass a field through
/// [`escape_control`] before you show it yourself.
///
/// `detail` and `where_` can quote values from the table ("Key (id)=(5) already exists"). So `Display` leaves
/// them out.
///
/// Source: <https://www.postgresql.org/docs/current/protocol-error-fields.html>.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, or for notices `WARNING`, `NOTICE`, `DEBUG`, `INFO`, `LOG`; never
    /// translated if the server is 9.6 or later. `unknown` if it was not sent.
    pub severity: String,
    /// The five characters of the error code, such as `42P01`. `unknown` if it was not sent.
    pub sqlstate: String,
    /// The text for people, usually one line.
    pub message: String,
    /// A second text with more about the problem. May hold values from the table.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
    /// Where in a statement that the server made itself, such as that of a function, in characters from 1.
    pub internal_position: Option<u32>,
    /// The context the error happened in, such as the call stack. May hold values from the table.
    pub where_: Option<String>,
    /// Name of the schema it is about.
    pub schema: Option<String>,
    /// Name of the table it is about.
    pub table: Option<String>,
    /// Name of the column it is about.
    pub column: Option<String>,
    /// Name of the data type it is about.
    pub datatype: Option<String>,
    /// Name of the constraint it is about.
    pub constraint: Option<String>,
    /// Name of the function in the server's source that reported it; never translated.
    pub routine: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse or NoticeResponse. Never fails.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let mut report = Self {
            severity: UNKNOWN.to_owned(),
            sqlstate: UNKNOWN.to_owned(),
            message: "(the server gave no message)".to_owned(),
            ..Self::default()
        };
        let mut localized_severity = None;
        let mut cursor = Cursor::new(body);
        while let Ok(field_type @ 1..) = cursor.u8() {
            // Without a terminator, the text is the rest of the body.
            let bytes = cursor.cstring().unwrap_or_else(|_| cursor.take_rest());
            let text = String::from_utf8_lossy(bytes.get(..FIELD_BYTES_MAX).unwrap_or(bytes)).into_owned();
            match field_type {
                b'S' => localized_severity = Some(text),
                b'V' => report.severity = text,
                b'C' => report.sqlstate = text,
                b'M' => report.message = text,
                b'D' => report.detail = Some(text),
                b'H' => report.hint = Some(text),
                b'P' => report.position = text.parse().ok(),
                b'p' => report.internal_position = text.parse().ok(),
                b'W' => report.where_ = Some(text),
                b's' => report.schema = Some(text),
                b't' => report.table = Some(text),
                b'c' => report.column = Some(text),
                b'd' => report.datatype = Some(text),
                b'n' => report.constraint = Some(text),
                b'R' => report.routine = Some(text),
                _ => {}
            }
        }
        if report.severity == UNKNOWN
            && let Some(severity) = localized_severity
        {
            report.severity = severity;
        }
        report
    }

    /// True if it is about the text of a statement: ours, or one inside the server.
    pub fn is_about_statement(&self) -> bool {
        self.position.is_some() || self.internal_position.is_some()
    }

    /// True if the server ends the session after this.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    /// True for the message to all sessions after one of the server's processes crashed: the server resets
    /// the shared memory and closes every connection, with a WARNING and no error.
    pub(crate) fn is_crash_warning(&self) -> bool {
        self.sqlstate == CRASH_SHUTDOWN
    }
}

/// Bytes of a field that are kept.
const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Characters of a field that are shown.
const SHOWN_MAX: usize = 2_000;

const UNKNOWN: &str = "unknown";
/// `crash_shutdown`, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const CRASH_SHUTDOWN: &str = "57P02";

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} (SQLSTATE {})",
            shown(&self.severity),
            shown(&self.message),
            shown(&self.sqlstate)
        )?;
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {}", shown(hint))?;
        }
        Ok(())
    }
}

/// For a terminal: without control characters, and at most 2,000 characters.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => escape_control(text.get(..end).unwrap_or_default()) + "…",
        None => escape_control(text),
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields() {
        let body =
            b"SFEHLER\0VERROR\0C23505\0Mdup\0Dkey\0Hhint\0P7\0Wwhere\0spublic\0tt\0cc\0dint4\0npk\0Ffile\0L1\0Rr\0p8\0\0";
        let report = ServerError::decode(body);
        assert_eq!(report.severity, "ERROR");
        assert_eq!(report.sqlstate, "23505");
        assert_eq!(report.message, "dup");
        assert_eq!(report.position, Some(7));
        assert_eq!(report.internal_position, Some(8));
        assert_eq!(report.schema.as_deref(), Some("public"));
        assert_eq!(report.table.as_deref(), Some("t"));
        assert_eq!(report.column.as_deref(), Some("c"));
        assert_eq!(report.datatype.as_deref(), Some("int4"));
        assert_eq!(report.constraint.as_deref(), Some("pk"));
        assert_eq!(report.routine.as_deref(), Some("r"));
        assert_eq!(report.to_string(), "ERROR: dup (SQLSTATE 23505); hint: hint");
    }

    /// PgBouncer's CVE-2026-6666: a report without a SQLSTATE crashed it.
    #[test]
    fn reports_that_are_not_well_formed_are_still_reports() {
        for (body, severity, sqlstate, message) in [
            (&b""[..], "unknown", "unknown", "(the server gave no message)"),
            (b"\0", "unknown", "unknown", "(the server gave no message)"),
            (b"Mtext", "unknown", "unknown", "text"),
            (b"M", "unknown", "unknown", ""),
            (b"SERROR\0Mtext\0", "ERROR", "unknown", "text"),
            (b"Mone\0Mtwo\0\0", "unknown", "unknown", "two"),
            (b"C22021\0Mb\xff\0\0", "unknown", "22021", "b\u{fffd}"),
            (b"Mtext\0\0trailing", "unknown", "unknown", "text"),
        ] {
            let report = ServerError::decode(body);
            assert_eq!(
                (report.severity.as_str(), report.sqlstate.as_str(), report.message.as_str()),
                (severity, sqlstate, message),
                "{body:?}"
            );
        }
    }

    #[test]
    fn the_text_cannot_steer_a_terminal() {
        let report = ServerError::decode(b"VERROR\0C42\x1b01\0Mred \x1b[31m\0Hline\nbreak\0\0");
        assert_eq!(
            report.to_string(),
            "ERROR: red \\u{1b}[31m (SQLSTATE 42\\u{1b}01); hint: line\\u{a}break"
        );
    }

    #[test]
    fn a_flood_of_text_is_cut() {
        let flood = "é\u{1b}".repeat(300_000);
        let body = [b"M", flood.as_bytes(), b"\0C42601\0\0"].concat();
        let report = ServerError::decode(&body);
        assert!(report.message.len() <= FIELD_BYTES_MAX + 3, "{}", report.message.len());
        // The fields behind a cut field are still read.
        assert_eq!(report.sqlstate, "42601");
        let shown = report.to_string();
        assert!(shown.chars().count() < 8 * SHOWN_MAX && !shown.contains('\u{1b}'), "{}", shown.len());
        assert!(shown.contains('…'), "{shown}");
    }
}

//! Statements beside an export, in the transaction that holds its snapshot.

use pgarrow_session::{Error, ErrorKind, Result};

use crate::statement::{Scanner, Statement, TokenKind};

/// Checks that this is one statement, and none that ends the transaction: the server would accept it, and
/// everything after it would be read under another snapshot.
///
/// # Errors
///
/// [`ErrorKind::Options`]. Nothing has reached the server, and the transaction goes on.
pub(crate) fn must_keep_transaction(sql: &str) -> Result<()> {
    Statement::parse(sql)?;
    let words = first_words(sql)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // A savepoint of the caller's own.
        ["ROLLBACK", "TO", ..] | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", ..] => Ok(()),
        [first @ ("COMMIT" | "END" | "ROLLBACK" | "ABORT"), ..] => Err(ends(first)),
        ["PREPARE", "TRANSACTION", ..] => Err(ends("PREPARE TRANSACTION")),
        _ => Ok(()),
    }
}

fn ends(statement: &str) -> Error {
    let text = format!("{statement} would end the transaction, and with it the snapshot that is read");
    Error::new(ErrorKind::Options, text).advice("run it in a connection of your own")
}

/// The words that the statement begins with, in upper case; at most three.
fn first_words(sql: &str) -> Result<Vec<String>> {
    const WORDS_MAX: usize = 3;
    let mut scanner = Scanner::new(sql);
    let mut words = Vec::new();
    while let Some(token) = scanner.next_token()? {
        match token.kind {
            TokenKind::Blank => {}
            TokenKind::Semicolon if words.is_empty() => {}
            TokenKind::Word if words.len() < WORDS_MAX => {
                words.push(sql.get(token.range).unwrap_or_default().to_ascii_uppercase());
            }
            _ => break,
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_transaction_is_refused() {
        for sql in [
            "COMMIT",
            "commit;",
            " ; Commit",
            "/* a /* b */ */ -- c\n commit",
            "COMMIT AND CHAIN",
            "commit/**/work",
            "END",
            "ABORT TRANSACTION",
            "ROLLBACK",
            "ROLLBACK WORK",
            "ROLLBACK AND CHAIN",
            "rollback transaction and chain",
            "ROLLBACK PREPARED 'to'",
            "PREPARE/**/TRANSACTION 'a'",
        ] {
            let error = must_keep_transaction(sql).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Options, "{sql}");
            assert!(error.to_string().contains("would end the transaction"), "{sql}: {error}");
        }
    }

    #[test]
    fn all_else_is_the_servers() {
        for sql in [
            "SELECT 1;",
            "SELECT 'COMMIT'",
            "\"COMMIT\"",
            "(SELECT 1) -- COMMIT",
            "SAVEPOINT commit",
            "ROLLBACK TO a",
            "ROLLBACK /* */ TO SAVEPOINT a",
            "ROLLBACK TRANSACTION TO a",
            "rollback work to savepoint a",
            "PREPARE a AS SELECT 1",
            "commits",
            "BEGIN",
        ] {
            must_keep_transaction(sql).unwrap();
        }
    }

    #[test]
    fn it_is_one_statement() {
        for (sql, why) in [
            ("SELECT 1; COMMIT", "more than one statement"),
            ("COMMIT; SELECT 1", "more than one statement"),
            ("", "empty"),
            (" ; -- COMMIT", "empty"),
        ] {
            let error = must_keep_transaction(sql).unwrap_err();
            assert!(error.to_string().contains(why), "{sql}: {error}");
        }
    }
}

//! Texts of libraries must not name flags and subcommands, which only the command has. They name options and
//! calls as data (`pgarrow_types::Hint`), and the program that shows them finds the words.

use std::path::Path;

use crate::project::{packages, read, relative, rust_files};

/// Programs, and crates for tests only.
const WITH_FLAGS: [&str; 4] = ["pgarrow-bench", "pgarrow-cli", "pgarrow-server", "pgarrow-testkit"];

/// The string literals of a source: the line where each begins, and its contents. Comments have none.
fn literals(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (mut found, mut index, mut line) = (Vec::new(), 0, 1);
    while let Some(rest) = source.get(index..) {
        let Some(first) = rest.chars().next() else { break };
        // A prefix makes a literal raw only where it begins a word.
        let is_new = index == 0 || !is_word(bytes[index - 1]);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let (true, Some((before, text, behind))) = (is_new, raw(rest)) {
            found.push((line, text));
            before + text.len() + behind
        } else if first == '"' {
            let text = quoted(&rest[1..]);
            found.push((line, text));
            text.len() + 2
        } else if first == '\'' {
            character(rest)
        } else {
            first.len_utf8()
        };
        line += rest.get(..length).unwrap_or(rest).matches('\n').count();
        index += length;
    }
    found
}

/// The length of a comment, which may contain others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        match &rest.as_bytes()[index..] {
            [b'/', b'*', ..] => (depth, index) = (depth + 1, index + 2),
            [b'*', b'/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

/// A raw literal: the lengths of its beginning and its end, and its contents.
fn raw(rest: &str) -> Option<(usize, &str, usize)> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|behind| behind.trim_start_matches('#').starts_with('"'))
    })?;
    let behind = &rest[prefix.len()..];
    let n_marks = behind.find('"')?;
    let end = format!("\"{}", &behind[..n_marks]);
    let before = prefix.len() + n_marks + 1;
    let text = &rest[before..];
    Some((before, text.split(&end).next()?, end.len()))
}

/// The text before the quote that ends a literal.
fn quoted(text: &str) -> &str {
    let mut is_escaped = false;
    let end = text.find(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    &text[..end.unwrap_or(text.len())]
}

/// The length of a character, or of the mark of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let behind = &rest[escaped + 1..];
            behind.find('\'').map_or(1, |end| escaped + 1 + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// Whether a text names a flag: `--` and a small letter.
fn names_flag(text: &str) -> bool {
    text.split("--").skip(1).any(|behind| behind.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The subcommands of `pgarrow`.
const COMMANDS: [&str; 9] =
    ["completions", "demo", "export", "hold", "inspect", "load", "man", "pages", "plan"];

/// Whether a text names a subcommand, or a short flag in backticks.
fn names_command(text: &str) -> bool {
    let is_command = |behind: &str| {
        let word = behind.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
        COMMANDS.contains(&word)
    };
    text.split("pgarrow ").skip(1).any(is_command)
        || text.split("`-").skip(1).any(|behind| !behind.is_empty())
}

/// Whether a file of a crate's sources is for its tests alone.
fn is_of_tests(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
}

#[test]
fn no_text_of_a_library_names_a_flag_or_a_command() {
    let mut found = Vec::new();
    for package in packages().iter().filter(|package| !WITH_FLAGS.contains(&package.name.as_str())) {
        let source = package.folder.join("src");
        for file in rust_files(&source) {
            if is_of_tests(file.strip_prefix(&source).expect("a file of the crate")) {
                continue;
            }
            let text = read(&file);
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let is_found = |text: &str| names_flag(text) || names_command(text);
            let flags = literals(code).into_iter().filter(|(_, text)| is_found(text));
            found.extend(flags.map(|(line, text)| format!("{}:{line}: {text:?}", relative(&file))));
        }
    }
    assert!(found.is_empty(), "say it with an option or a call, see Hint:\n{}", found.join("\n"));
}

#[test]
fn a_flag_is_found_where_it_is_said() {
    let source = r###"
        // "--in-a-comment"
        /* "--in /* "--another" */ "--comment" */
        let a = "say \"it\" (--memory)"; let quote = '"'; let escaped = '\''; fn f<'a>(_: &'a str) {}
        let b = r#"raw "--raw""#; let c = b"-- no flag"; let d = "a--";
        let var = "one
            --two";
    "###;
    let all = literals(source);
    let texts: Vec<&str> = all.iter().map(|(_, text)| *text).collect();
    let two = "one\n            --two";
    assert_eq!(texts, ["say \\\"it\\\" (--memory)", "raw \"--raw\"", "-- no flag", "a--", two]);
    let flags = all.iter().filter(|(_, text)| names_flag(text));
    assert_eq!(flags.map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6]);
    let said = [
        "see `pgarrow plan`",
        "(pgarrow pages install)",
        "use `-o -` for stdout",
        "pgarrow version 1",
        "a-b",
    ];
    assert_eq!(said.map(names_command), [true, true, true, false, false]);
}

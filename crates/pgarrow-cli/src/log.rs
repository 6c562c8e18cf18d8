//! Events of the program itself, as RUST_LOG asks for them; with `--log-format json`, each message is an
//! event, too.
//!
//! Both go to stderr through the console, which suspends the progress bar.

use std::env;
use std::io;

use pgarrow::escape_control;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::console::{Console, LogFormat, SAID};

/// Writes events from now on. An invalid RUST_LOG is only a warning: it may be meant for another program.
pub(crate) fn install(console: &Console) {
    let form = console.form();
    let asked = env::var_os("RUST_LOG").filter(|text| !text.is_empty());
    let default = match (form, console.is_quiet()) {
        (LogFormat::Json, false) => "pgarrow=info",
        _ => "off",
    };
    if asked.is_none() && form == LogFormat::Text {
        return;
    }
    let parsed = asked.map(|text| match text.to_str() {
        Some(text) => EnvFilter::try_new(text).map_err(|error| error.to_string()),
        None => Err("it is not UTF-8".to_owned()),
    });
    let (filter, trouble) = match parsed {
        None => (EnvFilter::new(default), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(trouble)) => (EnvFilter::new(default), Some(trouble)),
    };
    let writer = console.clone();
    let begun = tracing_subscriber::fmt().with_writer(writer).with_ansi(false);
    let installed = match form {
        LogFormat::Text => begun.with_env_filter(filter).try_init(),
        LogFormat::Json => {
            let said = format!("{SAID}=trace").parse().ok();
            let filter = said.into_iter().fold(filter, EnvFilter::add_directive);
            let begun = begun.with_env_filter(filter).json().flatten_event(true).with_span_list(false);
            begun.try_init()
        }
    };
    if let Some(trouble) = trouble {
        console.warn(format!("RUST_LOG is not followed, since it cannot be read: {trouble}"));
    }
    if let Err(error) = installed {
        console.warn(format!("events are not written: {error}"));
    }
}

/// The form that the arguments ask for, found without parsing them: they may be invalid.
pub(crate) fn form_of(arguments: &[String]) -> LogFormat {
    let is_json = arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair == ["--log-format", "json"]);
    if is_json { LogFormat::Json } else { LogFormat::Text }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Writes events, one at a time, each a line.
pub(crate) struct Line<'a>(&'a Console);

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let line = line.trim_end_matches('\n');
        match self.0.form() {
            LogFormat::Text => self.0.write(&escape_control(line)),
            LogFormat::Json => self.0.write(&escape_json(line)),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same JSON without characters that control a terminal. They occur only in strings, where JSON can
/// escape them.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        let mut bytes = [0; 4];
        if !c.is_ascii_graphic() && c != ' ' && escape_control(c.encode_utf8(&mut bytes)).len() > c.len_utf8()
        {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_and_steers_no_terminal() {
        let text = "a\u{9b}31m\u{202e}ü\u{1f600}\u{e0001}";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_json(&json);
        assert_eq!(escape_control(&escaped), escaped);
        assert!(escaped.contains("\\u009b31m\\u202eü\u{1f600}"), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }

    #[test]
    fn arguments_that_ask_for_json() {
        let form = |arguments: &[&str]| {
            form_of(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(form(&["pgarrow", "export", "--log-format", "json", "--nonsense"]), LogFormat::Json);
        assert_eq!(form(&["pgarrow", "--log-format=json"]), LogFormat::Json);
        assert_eq!(form(&["pgarrow", "--log-format", "text", "json"]), LogFormat::Text);
    }
}

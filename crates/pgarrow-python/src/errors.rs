//! Errors as exceptions. Their classes are written in Python, in `_errors.py`.

use pgarrow::{Error, Hint};
use pgarrow_cli::embedded::{self, Problem};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::inside::Inside;
use crate::words::{argument, arguments};

/// What an exception is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    kind: &'static str,
    text: String,
    sqlstate: Option<String>,
    /// Schema, table, column, row.
    place: (Option<String>, Option<String>, Option<String>, Option<u64>),
    hints: Vec<String>,
    report: Option<String>,
}

impl From<Problem> for Parts {
    fn from(problem: Problem) -> Self {
        let Problem { text, kind, error, report } = problem;
        let of_error = error.as_ref();
        let place = of_error.map(Error::place).cloned().unwrap_or_default();
        let hints = of_error.into_iter().flat_map(Error::hints).map(hint_text).collect();
        Self {
            kind,
            text: arguments(&text),
            sqlstate: of_error.and_then(Error::sqlstate).map(str::to_owned),
            place: (place.schema, place.table, place.column, place.row),
            hints,
            report,
        }
    }
}

impl From<Error> for Parts {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

fn hint_text(hint: &Hint) -> String {
    match (hint.option(), hint.value()) {
        (Some(option), value) => {
            let name = argument(&option.as_str().replace('_', "-"));
            if value.is_empty() { name } else { format!("{name}={value}") }
        }
        (None, value) => value,
    }
}

impl Parts {
    /// The exception.
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        let Self { kind, text, sqlstate, place: (schema, table, column, row), hints, report } = self;
        let _inside = Inside::enter(py);
        let make = py.import("pgarrow_engine._errors").and_then(|errors| errors.getattr("make"));
        // The package is broken: at least the text arrives.
        let Ok(make) = make else { return PyRuntimeError::new_err(text) };
        match make.call1((kind, text.as_str(), sqlstate, schema, table, column, row, hints, report)) {
            Ok(exception) => PyErr::from_value(exception),
            // A signal came right now, such as Ctrl-C: it is the reason, whatever failed, and its handler's
            // exception is what the program waits for. It comes with what was to be said.
            Err(raised) => {
                raised.set_cause(py, Some(PyRuntimeError::new_err(text)));
                raised
            }
        }
    }
}

/// The exception of a call that failed.
pub(crate) fn raise(py: Python<'_>, problem: Problem) -> PyErr {
    Parts::from(problem).raise(py)
}

/// The exception of an error of the library.
pub(crate) fn raise_error(py: Python<'_>, error: Error) -> PyErr {
    Parts::from(error).raise(py)
}

/// The exception for something that is closed, used up, or of another process.
pub(crate) fn state(text: &str) -> PyErr {
    let parts = Parts {
        kind: "state",
        text: text.to_owned(),
        sqlstate: None,
        place: (None, None, None, None),
        hints: Vec::new(),
        report: None,
    };
    Python::try_attach(|py| parts.raise(py)).unwrap_or_else(|| PyRuntimeError::new_err(text.to_owned()))
}

/// An error's text, with arguments.
pub(crate) fn text_of(error: &Error) -> String {
    arguments(&embedded::text_of(error))
}

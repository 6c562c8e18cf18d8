//! `Transaction`: a session of the caller, whose transaction loads can be part of.

use pgarrow::Cancel;
use pgarrow::load::Connection;
use pgarrow_cli::embedded;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::raise;
use crate::process::{Own, cancel_of_all};
use crate::task::Task;
use crate::wait::wait_plainly;

/// A session of its own.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Transaction {
    own: Own<Connection>,
    cancel: Cancel,
}

#[pymethods]
impl Transaction {
    /// Connects. Nothing is begun.
    #[new]
    fn new(py: Python<'_>, conninfo: Option<String>) -> PyResult<Self> {
        let config = embedded::config(conninfo.as_deref(), None).map_err(|problem| raise(py, problem))?;
        let cancel = cancel_of_all().child();
        let of_session = cancel.clone();
        let connect = move || Ok(Connection::connect_with(&config, of_session)?);
        let connection = wait_plainly(py, Task::start(&cancel, connect))?;
        Ok(Self { own: Own::new(connection), cancel })
    }

    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |connection| connection.begin())
    }

    fn execute(&self, py: Python<'_>, sql: String) -> PyResult<()> {
        self.ask(py, move |connection| connection.execute(&sql))
    }

    fn query_text(
        &self,
        py: Python<'_>,
        sql: String,
        params: Vec<Option<String>>,
    ) -> PyResult<Vec<Vec<Option<String>>>> {
        self.ask(py, move |connection| {
            let params: Vec<Option<&str>> = params.iter().map(Option::as_deref).collect();
            connection.query_text(&sql, &params)
        })
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |connection| connection.commit())
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |connection| connection.rollback())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a transaction cannot be pickled: it is a session of this process"))
    }
}

impl Transaction {
    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&Connection) -> pgarrow::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let connection = self.own.get()?.clone();
        wait_plainly(py, Task::start(&self.cancel, move || Ok(ask(&connection)?)))
    }

    pub(crate) fn connection(&self) -> PyResult<Connection> {
        Ok(self.own.get()?.clone())
    }
}

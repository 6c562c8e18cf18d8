//! `Memory`: bytes that several streams share.

use pyo3::prelude::*;

use crate::errors::raise;

/// Bytes for buffers and batches that several reads and exports share.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Memory(pub(crate) pgarrow::Memory);

#[pymethods]
impl Memory {
    /// `limit`: as `memory` takes it, `"256M"`.
    #[new]
    fn new(py: Python<'_>, limit: &str) -> PyResult<Self> {
        let bytes = pgarrow_cli::embedded::memory_bytes(limit).map_err(|problem| raise(py, problem))?;
        Ok(Self(pgarrow::Memory::new(bytes)))
    }

    #[getter]
    fn limit(&self) -> usize {
        self.0.limit()
    }

    #[getter]
    fn free(&self) -> usize {
        self.0.free()
    }

    #[getter]
    fn used(&self) -> usize {
        self.0.used()
    }

    #[getter]
    fn peak(&self) -> usize {
        self.0.peak()
    }

    fn __repr__(&self) -> String {
        format!("Memory({} of {} bytes in use)", self.0.used(), self.0.limit())
    }
}

//! Finds values in COPY binary streams and hands them to columns.

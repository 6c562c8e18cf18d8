//! From the form in which a value is stored to the one in which COPY sends it.

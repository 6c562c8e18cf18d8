//! Finds values in PostgreSQL's heap pages and hands them to columns: pages in, batches out.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::indexing_slicing
    )
)]

mod compressed;
mod transcode;

//! Finds values in PostgreSQL's heap pages and hands them to columns: pages in, batches out.
//!
//! A page that is all-visible holds exactly the rows that a snapshot sees which was held since before the page was read.
//! So its tuples are decoded here as the server would decode them. Whatever is not as it should be is no error: the page
//! is refused, and its rows are to be read in another way.
//!
//! ```text
//!  COPY of one column ─▶ pages            (`stream`)
//!  page ─▶ line pointers ─▶ tuples        (`page`: as heapgetpage)
//!  tuples ─▶ where each value is          (`locate`: as heap_deform_tuple)
//!  values ─▶ columns                      (`rows`: stored values, or what COPY would send of them: `transcode`)
//! ```
//!
//! The crate does no IO, spawns nothing and reads no clock. Bytes are read with checked slices only. Start at
//! [`PageDecoder`].

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
mod decoder;
mod locate;
mod page;
mod rows;
mod stream;
mod transcode;

pub use decoder::{Decoded, PageDecoder, PageStop};
pub use locate::PageAt;
pub use page::{PAGE_BYTES, PAGE_HEADER_BYTES, Refusal};
pub use stream::{FoundPages, PageStream};

//! Finds values in PostgreSQL's heap pages and hands them to columns: pages in, batches out.
//!
//! An all-visible page holds exactly the rows of any snapshot that is held since before the page was read. So
//! this crate decodes its tuples as the server would. Of another page, it judges the tuples one by one, if it
//! was given the snapshot. A page with anything unexpected or uncertain is no error: it is refused, and the
//! caller reads its rows in another way.
//!
//! ```text
//!  COPY of one column ─▶ pages            (`stream`)
//!  page ─▶ line pointers ─▶ tuples        (`page`: as heapgetpage)
//!  not all-visible ─▶ the snapshot's ones (`visibility`: as HeapTupleSatisfiesMVCC, or a refusal)
//!  tuples ─▶ places of their values       (`locate`: as heap_deform_tuple)
//!  values ─▶ columns                      (`rows`: stored values, or as COPY sends them: `transcode`)
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
mod visibility;

pub use decoder::{Decoded, PageDecoder, PageStop};
pub use locate::PageAt;
pub use page::{PAGE_BYTES, PAGE_HEADER_BYTES, Refusal};
pub use stream::{FoundPages, PageStream};
pub use visibility::Snapshot;

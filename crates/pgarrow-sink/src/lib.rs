//! Where batches go: Sink, Part, Written, and publishing a file atomically.

//! Record batches to an Arrow IPC file or stream.

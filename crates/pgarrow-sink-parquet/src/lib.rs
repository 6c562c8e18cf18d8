//! Record batches to a Parquet file.

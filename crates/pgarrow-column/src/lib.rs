//! Values on the wire to Arrow columns.

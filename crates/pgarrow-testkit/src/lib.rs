//! For tests only: scripted servers, a fault proxy, a COPY byte writer, batch comparison, real servers.

//! TLS on an open connection: requested, or begun at once.
//!
//! After the request for TLS exactly one byte is read. Bytes that an attacker on the way appends go into the
//! handshake, which fails on them (CVE-2021-23222). An error in place of the byte comes from a server that is
//! not authenticated, so its text is not shown (CVE-2024-10977).
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>.

use std::sync::Arc;

use super::{Session, is_not_yet};
use crate::error::{Error, ErrorKind};
use crate::tls::{self, TlsClient};
use crate::wire::TICK;

const TLS_PHASE: &str = "TLS handshake";

/// Requests TLS, or begins with it, and sets it up. Without `is_required`, a server without TLS is accepted.
///
/// [`ErrorKind::Tls`] always means that TLS itself was not set up.
pub(crate) fn encrypt(session: &mut Session, tls: &Arc<TlsClient>, is_required: bool) -> Result<(), Error> {
    session.warnings.extend_from_slice(tls.warnings());
    if !tls.is_direct() && !ask(session, is_required)? {
        return Ok(());
    }
    let certificate_use = match tls.connection() {
        Ok((connection, certificate_use)) => {
            session.wire.start_tls(connection);
            certificate_use
        }
        Err(cause) => return Err(session.fail(ErrorKind::Tls, TLS_PHASE, &cause.to_string())),
    };
    session.tls = Some(Arc::clone(tls));
    session.certificate_use = Some(certificate_use);
    shake_hands(session).map_err(|cause| about_direct(cause, tls))?;
    if tls.is_direct() && !session.wire.has_application_protocol() {
        let what = "sslnegotiation=direct, and the server did not agree to speak PostgreSQL (by ALPN): it may be \
                    another kind of server, or something between; sslnegotiation=postgres asks first";
        return Err(session.fail(ErrorKind::Tls, TLS_PHASE, what));
    }
    Ok(())
}

/// Whether the server has TLS.
fn ask(session: &mut Session, is_required: bool) -> Result<bool, Error> {
    session.outgoing.ssl_request()?;
    session.send(TLS_PHASE)?;
    match read_answer(session)? {
        b'S' => Ok(true),
        b'N' if is_required => {
            let what = format!(
                "the server does not offer TLS, and sslmode={} does not go on without",
                session.config.sslmode()
            );
            Err(session.fail(ErrorKind::Tls, TLS_PHASE, &what))
        }
        b'N' => Ok(false),
        b'E' => {
            // A server that cannot start another process answers so. Not of kind Tls: `prefer` must not go on
            // in plaintext.
            let what = "the server answered the request for TLS with an error; its text cannot be trusted and was \
                        not read";
            Err(session.fail(ErrorKind::Closed, TLS_PHASE, what))
        }
        _ => Err(session.violation(TLS_PHASE, "the answer to the request for TLS is neither S nor N")),
    }
}

fn shake_hands(session: &mut Session) -> Result<(), Error> {
    loop {
        session.check_time(TLS_PHASE)?;
        match session.wire.handshake_step() {
            Ok(true) => return Ok(()),
            Ok(false) if session.wire.is_flushed() => {}
            Ok(false) => {
                session.wire.wait(true, TICK).map_err(|cause| session.io_error(&cause, TLS_PHASE))?;
            }
            Err(cause) => return Err(session.fail(ErrorKind::Tls, TLS_PHASE, &tls::explain(&cause))),
        }
    }
}

/// A server before PostgreSQL 17 answers unrequested TLS by closing the connection, or with plaintext.
fn about_direct(cause: Error, tls: &TlsClient) -> Error {
    if !tls.is_direct() || cause.kind() != ErrorKind::Tls {
        return cause;
    }
    let hint =
        "sslnegotiation=direct needs PostgreSQL 17 or later with TLS; sslnegotiation=postgres asks first";
    Error::new(ErrorKind::Tls, format!("{cause}; {hint}"))
}

fn read_answer(session: &mut Session) -> Result<u8, Error> {
    loop {
        session.check_time(TLS_PHASE)?;
        match session.wire.read_single_byte() {
            Ok(Some(byte)) => return Ok(byte),
            Ok(None) => {
                let what = "the server closed the connection";
                return Err(session.fail(ErrorKind::Closed, TLS_PHASE, what));
            }
            Err(cause) if is_not_yet(&cause) => {}
            Err(cause) => return Err(session.io_error(&cause, TLS_PHASE)),
        }
    }
}

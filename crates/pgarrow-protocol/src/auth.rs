//! Proving who we are, and with SCRAM that the server knows the password too.
//!
//! ```text
//!  startup ──▶ R ─┬─ Ok ─────────────────────────────────────────────────────▶ S* K? ──▶ Z
//!                 ├─ Cleartext ──▶ p(password) ──▶ R Ok ─────────────────────▶
//!                 ├─ MD5(salt) ──▶ p(md5…) ──▶ R Ok ─────────────────────────▶
//!                 └─ SASL ──▶ p(first) ──▶ R Continue ──▶ p(proof) ──▶ R Final ──▶ R Ok ──▶
//!                                                              server signature checked here
//! ```
//!
//! An Ok in the middle of SASL would mean a server that need not know the password: refused. GSSAPI,
//! SSPI, SASL with channel binding and OAuth are not spoken here and are named in the error.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP> and
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use crate::backend::{self, Authentication};
use crate::error::{Error, ErrorKind};
use crate::session::Session;
use crate::text::escape_control;

const PHASE: &str = "authentication";
const STARTUP_PHASE: &str = "startup";

impl Session {
    /// Everything from the startup message to the first ReadyForQuery.
    pub(crate) fn authenticate(&mut self) -> Result<(), Error> {
        match self.receive_authentication()? {
            Authentication::Ok => {}
            Authentication::Cleartext => {
                if !self.is_encrypted() && !self.config.is_unix_socket() {
                    self.warnings.push(format!(
                        "the password went to {} in clear text, and without TLS: set up scram-sha-256 on the server",
                        self.endpoint
                    ));
                }
                let password = self.password()?;
                self.outgoing.password(&password)?;
                self.send(PHASE)?;
                self.expect_authenticated()?;
            }
            Authentication::Md5 { salt } => {
                let password = self.password()?;
                let hash = md5_hash(self.config.user().as_bytes(), password.as_bytes(), salt);
                self.outgoing.password(&hash)?;
                self.send(PHASE)?;
                self.expect_authenticated()?;
            }
            Authentication::Sasl { mechanisms } => self.scram(&mechanisms)?,
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                return Err(self.violation(PHASE, "SASL goes on before it has begun"));
            }
            Authentication::Other(method) => {
                let what = format!(
                    "the server asks for {}, which is not supported: use scram-sha-256 for this user in pg_hba.conf",
                    method_name(method)
                );
                return Err(self.fail(ErrorKind::Auth, PHASE, &what));
            }
        }
        self.finish_startup()
    }

    fn scram(&mut self, mechanisms: &[String]) -> Result<(), Error> {
        if !mechanisms.iter().any(|name| name == SCRAM_SHA_256) {
            let names = escape_control(&mechanisms.join(", "));
            let what =
                format!("the server offers only the SASL mechanisms {names}; SCRAM-SHA-256 is supported");
            return Err(self.fail(ErrorKind::Auth, PHASE, &what));
        }
        // "Not supported" is the truth, so a server that insists on binding can say so.
        let mut scram = ScramSha256::new(self.password()?.as_bytes(), ChannelBinding::unsupported());
        self.outgoing.sasl_initial_response(SCRAM_SHA_256, scram.message())?;
        self.send(PHASE)?;

        let Authentication::SaslContinue(challenge) = self.receive_authentication()? else {
            return Err(self.fail(ErrorKind::Auth, PHASE, "the server left out its SCRAM challenge"));
        };
        if let Err(cause) = scram.update(&challenge) {
            let what = format!(
                "the server's SCRAM challenge is not acceptable: {}",
                escape_control(&cause.to_string())
            );
            return Err(self.fail(ErrorKind::Auth, PHASE, &what));
        }
        self.outgoing.sasl_response(scram.message())?;
        self.send(PHASE)?;

        let Authentication::SaslFinal(outcome) = self.receive_authentication()? else {
            let what =
                "the server skipped its SCRAM signature, so it need not know the password: not trusted";
            return Err(self.fail(ErrorKind::Auth, PHASE, what));
        };
        if let Err(cause) = scram.finish(&outcome) {
            let what = format!(
                "the server could not prove that it knows the password: {}",
                escape_control(&cause.to_string())
            );
            return Err(self.fail(ErrorKind::Auth, PHASE, &what));
        }
        self.expect_authenticated()
    }

    fn password(&mut self) -> Result<String, Error> {
        match self.config.resolved_password() {
            Some(password) => Ok(password),
            None => {
                let what = format!(
                    "the server asks for a password and none is given for user {}: set PGPASSWORD or ~/.pgpass",
                    self.config.user()
                );
                Err(self.fail(ErrorKind::Auth, PHASE, &what))
            }
        }
    }

    fn receive_authentication(&mut self) -> Result<Authentication, Error> {
        let mut was_negotiated = false;
        loop {
            let message = self.receive_or_fail(PHASE)?;
            match message.tag {
                b'R' => {
                    return backend::authentication(&message.body)
                        .map_err(|cause| self.malformed(PHASE, b'R', cause));
                }
                // We ask for 3.0 and no options, so there is nothing to give up. Once is enough.
                b'v' if !was_negotiated => {
                    was_negotiated = true;
                    backend::negotiate(&message.body).map_err(|cause| self.malformed(PHASE, b'v', cause))?;
                }
                tag => return Err(self.unexpected(PHASE, tag)),
            }
        }
    }

    fn expect_authenticated(&mut self) -> Result<(), Error> {
        match self.receive_authentication()? {
            Authentication::Ok => Ok(()),
            _ => Err(self.fail(ErrorKind::Auth, PHASE, "the server asks a second time for something")),
        }
    }

    /// Parameters and the cancel key, up to the first ReadyForQuery.
    fn finish_startup(&mut self) -> Result<(), Error> {
        loop {
            let message = self.receive_or_fail(STARTUP_PHASE)?;
            match message.tag {
                b'K' if self.backend_key.is_none() => match backend::backend_key(&message.body) {
                    Ok(key) => self.backend_key = Some(key),
                    Err(cause) => return Err(self.malformed(STARTUP_PHASE, b'K', cause)),
                },
                _ => {
                    self.ready(STARTUP_PHASE, &message)?;
                    return self.check_server();
                }
            }
        }
    }

    /// What has to be true for the bytes of a binary COPY to mean what we take them for.
    fn check_server(&mut self) -> Result<(), Error> {
        if self.parameter("integer_datetimes") == Some("off") {
            let what = "the server stores dates and times as floating point (integer_datetimes=off), which is not \
                        supported";
            return Err(self.fail(ErrorKind::Protocol, STARTUP_PHASE, what));
        }
        self.check_encoding(STARTUP_PHASE)
    }
}

/// Source: `AUTH_REQ_*` in PostgreSQL's `src/include/libpq/protocol.h`.
fn method_name(method: i32) -> String {
    match method {
        1 => "Kerberos 4".to_owned(),
        2 => "Kerberos 5".to_owned(),
        4 => "a crypt password".to_owned(),
        6 => "SCM credentials".to_owned(),
        7 | 8 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        other => format!("authentication method {other}"),
    }
}

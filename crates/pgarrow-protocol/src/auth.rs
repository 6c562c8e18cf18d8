//! Proving who we are, and with SCRAM that the server knows the password too.
//!
//! ```text
//!  startup ──▶ v? ──▶ R ─┬─ Ok ────────────────────────────────────────────────▶ S* K? ──▶ Z
//!                        ├─ Cleartext ──▶ p(password) ──▶ R Ok ────────────────▶
//!                        ├─ MD5(salt) ──▶ p(md5…) ──▶ R Ok ────────────────────▶
//!                        └─ SASL ──▶ p(first) ──▶ R Continue ──▶ p(proof) ──▶ R Final ──▶ R Ok ──▶
//!                                                                     server signature checked here
//! ```
//!
//! The server's request is checked against `require_auth`, `channel_binding` and `sslcertmode` before
//! anything is sent (`allowed.rs`). An Ok in the middle of SASL is refused: such a server need not know the
//! password. GSSAPI, SSPI and OAuth are not supported; the error names them.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP> and
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>.

mod allowed;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

use crate::backend::{self, Authentication, Negotiation};
use crate::config::{ChannelBinding, ProtocolVersion};
use crate::error::{Error, ErrorKind};
use crate::scram::{Binding, Scram};
use crate::session::Session;
use crate::text::shortened;

const PHASE: &str = "authentication";
const STARTUP_PHASE: &str = "startup";

impl Session {
    /// Everything from the startup message to the first ReadyForQuery.
    pub(crate) fn authenticate(&mut self) -> Result<(), Error> {
        let request = self.first_request()?;
        self.check_allowed(&request)?;
        match request {
            Authentication::Ok => {}
            Authentication::Cleartext => {
                let password = self.password()?;
                if !self.is_encrypted() && !self.config.is_unix_socket() {
                    self.warnings.push(format!(
                        "the password went to {} in clear text, and without TLS: set up scram-sha-256 on the server",
                        self.endpoint
                    ));
                }
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
                    "the server asks for {}, which is not supported: use scram-sha-256 or a client certificate for \
                     this user in pg_hba.conf",
                    method_name(method)
                );
                return Err(self.fail(ErrorKind::Auth, PHASE, &what));
            }
        }
        self.finish_startup()
    }

    fn scram(&mut self, mechanisms: &[String]) -> Result<(), Error> {
        let (mechanism, binding) = self.choose_mechanism(mechanisms)?;
        let mut scram = Scram::new(&self.password()?, binding);
        self.outgoing.sasl_initial_response(mechanism, scram.first())?;
        self.send(PHASE)?;

        let Authentication::SaslContinue(challenge) = self.receive_authentication()? else {
            return Err(self.fail(ErrorKind::Auth, PHASE, "the server left out its SCRAM challenge"));
        };
        match scram.answer(&challenge) {
            Ok(answer) => self.outgoing.sasl_response(answer)?,
            Err(cause) => return Err(self.fail(ErrorKind::Auth, PHASE, &cause.to_string())),
        }
        self.send(PHASE)?;

        let Authentication::SaslFinal(outcome) = self.receive_authentication()? else {
            let what =
                "the server skipped its SCRAM signature, so it need not know the password: not trusted";
            return Err(self.fail(ErrorKind::Auth, PHASE, what));
        };
        if let Err(cause) = scram.finish(&outcome) {
            return Err(self.fail(ErrorKind::Auth, PHASE, &cause.to_string()));
        }
        self.expect_authenticated()
    }

    /// The strongest mechanism that both sides have, and what we say about channel binding.
    ///
    /// With TLS, SCRAM-SHA-256-PLUS is used if it is offered. As in libpq, a certificate without a hash to
    /// bind to is then an error, and no reason to go on without channel binding.
    fn choose_mechanism(&mut self, mechanisms: &[String]) -> Result<(&'static str, Binding), Error> {
        let offers = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
        let wanted = self.config.auth().channel_binding;
        if offers(SCRAM_SHA_256_PLUS) && !self.is_encrypted() {
            // It exists with TLS only: the offer belongs to another connection than ours.
            let what = "the server offers SCRAM-SHA-256-PLUS on a connection without TLS: an attacker may be in between";
            return Err(self.fail(ErrorKind::Auth, PHASE, what));
        }
        if offers(SCRAM_SHA_256_PLUS) && wanted != ChannelBinding::Disable {
            let certificate = self.wire.server_certificate().unwrap_or_default();
            return match crate::tls::end_point_hash(certificate) {
                Ok(hash) => Ok((SCRAM_SHA_256_PLUS, Binding::ServerEndPoint(hash))),
                Err(cause) => {
                    let what = format!(
                        "the connection cannot be bound to the server's certificate: {cause}; another certificate \
                         for the server, or channel_binding=disable, helps"
                    );
                    Err(self.fail(ErrorKind::Auth, PHASE, &what))
                }
            };
        }
        if wanted == ChannelBinding::Require {
            let what = "channel_binding=require, and the server does not offer SCRAM-SHA-256-PLUS";
            return Err(self.fail(ErrorKind::Auth, PHASE, what));
        }
        if !offers(SCRAM_SHA_256) {
            let names = shortened(&mechanisms.join(", "));
            let what =
                format!("the server offers only the SASL mechanisms {names}; SCRAM-SHA-256 is supported");
            return Err(self.fail(ErrorKind::Auth, PHASE, &what));
        }
        let could_bind = self.is_encrypted() && wanted != ChannelBinding::Disable;
        Ok((SCRAM_SHA_256, if could_bind { Binding::NotOffered } else { Binding::None }))
    }

    /// An empty password counts as none, as in libpq.
    fn password(&mut self) -> Result<String, Error> {
        match self.config.resolved_password() {
            Some(password) if !password.is_empty() => Ok(password),
            _ => {
                let mut what = format!(
                    "the server asks for a password and none is given for user {}: set PGPASSWORD or ~/.pgpass",
                    self.config.user()
                );
                if let Some(warning) = self.config.passfile_warning() {
                    what = format!("{what}; {warning}");
                }
                Err(self.fail(ErrorKind::Auth, PHASE, &what))
            }
        }
    }

    /// The server's request. A NegotiateProtocolVersion may come before it.
    fn first_request(&mut self) -> Result<Authentication, Error> {
        let mut message = self.receive_or_fail(PHASE).map_err(|cause| self.about_version(cause))?;
        if message.tag == b'v' {
            let negotiation =
                backend::negotiation(&message.body).map_err(|cause| self.malformed(PHASE, b'v', cause))?;
            self.negotiate(&negotiation)?;
            message = self.receive_or_fail(PHASE)?;
        }
        self.as_authentication(message.tag, &message.body)
    }

    fn receive_authentication(&mut self) -> Result<Authentication, Error> {
        let message = self.receive_or_fail(PHASE)?;
        self.as_authentication(message.tag, &message.body)
    }

    fn as_authentication(&mut self, tag: u8, body: &[u8]) -> Result<Authentication, Error> {
        if tag != b'R' {
            return Err(self.unexpected(PHASE, tag));
        }
        backend::authentication(body).map_err(|cause| self.malformed(PHASE, b'R', cause))
    }

    /// Accepts a lower version of the protocol. We ask for no options, so the server can refuse none.
    ///
    /// Source: `pqGetNegotiateProtocolVersion3` in PostgreSQL 18's `src/interfaces/libpq/fe-protocol3.c`.
    fn negotiate(&mut self, negotiation: &Negotiation) -> Result<(), Error> {
        if negotiation.n_options > 0 {
            let what = "the server refuses protocol options that were not asked for";
            return Err(self.violation(PHASE, what));
        }
        let version = match (negotiation.minor, self.protocol) {
            (0, ProtocolVersion::V3_2) => ProtocolVersion::V3_0,
            (minor, asked) => {
                let what = format!("the server answers protocol {asked} with 3.{minor}");
                return Err(self.violation(PHASE, &what));
            }
        };
        let min = self.config.auth().min_protocol;
        if version < min {
            let what = format!("the server speaks protocol {version} and min_protocol_version is {min}");
            return Err(self.fail(ErrorKind::Protocol, PHASE, &what));
        }
        self.protocol = version;
        Ok(())
    }

    /// A server or pooler that knows no version but 3.0 closes the connection or reports an error (W-21).
    fn about_version(&mut self, cause: Error) -> Error {
        // 0A000, feature_not_supported, and 08P01, protocol_violation, are the errors that they report.
        let is_about_it =
            cause.kind() == ErrorKind::Closed || matches!(cause.sqlstate(), Some("0A000" | "08P01"));
        if self.protocol == ProtocolVersion::V3_0 || !is_about_it {
            return cause;
        }
        let message = format!(
            "{cause}: it may not know protocol {}, which max_protocol_version asks for; try without",
            self.protocol
        );
        let error = Error::new(cause.kind(), message);
        match cause.server_error() {
            Some(report) => error.with_server(report.clone()),
            None => error,
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
        self.is_authenticated = true;
        loop {
            let message = self.receive_or_fail(STARTUP_PHASE)?;
            match message.tag {
                b'K' if self.backend_key.is_none() => {
                    match backend::backend_key(&message.body, self.protocol) {
                        Ok(key) => self.backend_key = Some(key),
                        Err(cause) => return Err(self.malformed(STARTUP_PHASE, b'K', cause)),
                    }
                }
                _ => {
                    self.ready(STARTUP_PHASE, &message)?;
                    return self.check_server();
                }
            }
        }
    }

    /// Conditions for the bytes of a binary COPY to mean what we take them for.
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

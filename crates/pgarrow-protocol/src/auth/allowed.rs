//! Checks that the server may ask for what it asks for. Nothing is sent before this check.
//!
//! | | refuses |
//! |---|---|
//! | `require_auth` | methods that are not in its list; `none` in it is a server that asks for nothing |
//! | `channel_binding=require` | all but SASL with TLS; the offer of SCRAM-SHA-256-PLUS is checked later |
//! | `sslcertmode=require` | a server that did not ask for a client certificate, or got none |
//!
//! Without these parameters the server chooses freely. A server that only pretends to be ours chooses the
//! password in clear text (CVE-2025-49146 was such a way around channel binding).
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH>;
//! `check_expected_areq` in PostgreSQL's `src/interfaces/libpq/fe-auth.c`.

use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

use super::{PHASE, method_name};
use crate::backend::Authentication;
use crate::config::{AuthMethod, ChannelBinding, SslCertMode};
use crate::error::{Error, ErrorKind};
use crate::session::Session;

impl Session {
    /// Checks the first request, which decides about all later ones.
    pub(super) fn check_allowed(&mut self, request: &Authentication) -> Result<(), Error> {
        self.check_certificate_sent()?;
        if let Some(required) = &self.config.auth().require_auth {
            let is_allowed = method_of(request).is_some_and(|method| required.allows(method));
            if !is_allowed {
                let what =
                    format!("the server {}, and require_auth allows only {required}", describe(request));
                return Err(self.fail(ErrorKind::Auth, PHASE, &what));
            }
        }
        if self.config.auth().channel_binding == ChannelBinding::Require {
            let is_sasl = matches!(request, Authentication::Sasl { .. });
            if !is_sasl || !self.is_encrypted() {
                let why =
                    if is_sasl { "the connection has no TLS".to_owned() } else { describe_server(request) };
                let what = format!("channel_binding=require, and {why}: nothing to bind to");
                return Err(self.fail(ErrorKind::Auth, PHASE, &what));
            }
        }
        Ok(())
    }

    fn check_certificate_sent(&mut self) -> Result<(), Error> {
        if self.config.tls().cert_mode != SslCertMode::Require {
            return Ok(());
        }
        let what = match &self.certificate_use {
            Some(certificate) if certificate.was_sent() => return Ok(()),
            Some(certificate) if certificate.was_asked_for() => {
                "sslcertmode=require, and there was no certificate to send: see sslcert and sslkey"
            }
            _ => "sslcertmode=require, and the server did not ask for a client certificate",
        };
        Err(self.fail(ErrorKind::Auth, PHASE, what))
    }
}

fn describe_server(request: &Authentication) -> String {
    format!("the server {}", describe(request))
}

/// The method in the words of `require_auth`; `None` if it has no word for it.
fn method_of(request: &Authentication) -> Option<AuthMethod> {
    match request {
        Authentication::Ok => Some(AuthMethod::None),
        Authentication::Cleartext => Some(AuthMethod::Password),
        Authentication::Md5 { .. } => Some(AuthMethod::Md5),
        Authentication::Sasl { mechanisms } => {
            let offers = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
            if offers(SCRAM_SHA_256) || offers(SCRAM_SHA_256_PLUS) {
                Some(AuthMethod::ScramSha256)
            } else {
                offers("OAUTHBEARER").then_some(AuthMethod::Oauth)
            }
        }
        Authentication::Other(7 | 8) => Some(AuthMethod::Gss),
        Authentication::Other(9) => Some(AuthMethod::Sspi),
        // Out of order: the caller refuses them as such.
        Authentication::SaslContinue(_) | Authentication::SaslFinal(_) | Authentication::Other(_) => None,
    }
}

fn describe(request: &Authentication) -> String {
    match request {
        Authentication::Ok => "asks for nothing".to_owned(),
        Authentication::Cleartext => "asks for the password in clear text".to_owned(),
        Authentication::Md5 { .. } => "asks for a password by md5".to_owned(),
        Authentication::Sasl { .. } if method_of(request) == Some(AuthMethod::ScramSha256) => {
            "asks for scram-sha-256".to_owned()
        }
        Authentication::Sasl { .. } if method_of(request) == Some(AuthMethod::Oauth) => {
            "asks for oauth".to_owned()
        }
        Authentication::Sasl { .. } => "asks for SASL with mechanisms that are not known".to_owned(),
        Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => "goes on with SASL".to_owned(),
        Authentication::Other(method) => format!("asks for {}", method_name(*method)),
    }
}

//! Whether a certificate is for a host, by libpq's rules.
//!
//! | host is | certificate's names of this kind | otherwise |
//! |---|---|---|
//! | a name | DNS names; `*.` is exactly one label at the left | the common name, if there is no DNS name |
//! | an address | IP addresses, and DNS names that spell it | the common name, if there is no IP address |
//!
//! Names are compared as ASCII without regard to case. A name with a zero byte matches no host: attackers
//! used such names to make certificates for one host look like those for another.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-CERTIFICATES-VERIFY>, RFC 2818,
//! RFC 6125. Observed with psql 17: it uses the common name for a host's name beside IP addresses, and for an
//! address beside DNS names.

use std::net::IpAddr;

use super::certificate::{AlternativeName, Certificate};

/// Whether `certificate` is for `host`. The error does not repeat the certificate's text.
///
/// `may_use_common_name`: false if an authority of the chain may sign for some names only, since nothing has
/// checked the common name against this limit.
pub(super) fn check(certificate: &Certificate, host: &str, may_use_common_name: bool) -> Result<(), String> {
    let refused =
        || Err(format!("the server's certificate is not for {host}; sslmode=verify-ca does not ask"));
    let Some(names) = certificate.alternative_names() else {
        return Err("the names in the server's certificate cannot be read".to_owned());
    };
    let address: Option<IpAddr> = host.parse().ok();
    let mut takes_common_name = may_use_common_name;
    for name in &names {
        let (is_of_kind, is_match) = match name {
            AlternativeName::Dns(name) => (address.is_none(), is_name_for(name, host, address.is_some())),
            AlternativeName::Address(bytes) => {
                (address.is_some(), address.is_some_and(|address| is_address(bytes, address)))
            }
        };
        if is_match {
            return Ok(());
        }
        takes_common_name &= !is_of_kind;
    }
    match certificate.common_name() {
        Some(name) if takes_common_name && is_name_for(name, host, address.is_some()) => Ok(()),
        _ => refused(),
    }
}

fn is_address(bytes: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => bytes == address.octets(),
        IpAddr::V6(address) => bytes == address.octets(),
    }
}

fn is_name_for(name: &[u8], host: &str, is_address: bool) -> bool {
    if name.contains(&0) {
        return false;
    }
    if name.eq_ignore_ascii_case(host.as_bytes()) {
        return true;
    }
    // A pattern for names does not apply to the numbers of an address.
    let Some(rest) = name.strip_prefix(b"*.").filter(|rest| !rest.is_empty() && !is_address) else {
        return false;
    };
    let Some(dot) = host.bytes().position(|byte| byte == b'.') else { return false };
    dot > 0 && host.as_bytes().get(dot + 1..).is_some_and(|tail| tail.eq_ignore_ascii_case(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_one_label() {
        for (name, host, is_match) in [
            ("db.example", "db.example", true),
            ("DB.Example", "db.eXample", true),
            ("*.example", "db.example", true),
            ("*.EXAMPLE", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("d*.example", "db.example", false),
            ("db.*", "db.example", false),
            ("*.example", "*.example", true),
            ("db.example\0.evil", "db.example", false),
            ("", "", true),
        ] {
            assert_eq!(is_name_for(name.as_bytes(), host, false), is_match, "{name:?} {host}");
        }
        assert!(is_name_for(b"127.0.0.1", "127.0.0.1", true));
        assert!(!is_name_for(b"*.0.0.1", "127.0.0.1", true));
    }

    #[test]
    fn addresses_are_compared_as_bytes() {
        assert!(is_address(&[127, 0, 0, 1], "127.0.0.1".parse().unwrap()));
        assert!(!is_address(&[127, 0, 0, 1], "::1".parse().unwrap()));
        assert!(!is_address(&[127, 0, 0], "127.0.0.1".parse().unwrap()));
        assert!(is_address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "0::1".parse().unwrap()));
    }
}

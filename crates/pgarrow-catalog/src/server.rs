//! The kind of server.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::texts::{parsed, text};

/// Traits that decide whether a table may be read by ranges of pages. See [`server_traits`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTraits {
    /// Whether it is PostgreSQL itself, and not a fork that stores rows differently.
    pub is_plain_postgres: bool,
    /// The beginning of `version()`, up to the platform that it was built for.
    pub product: String,
    /// Whether it is a standby, or still recovering.
    pub in_recovery: bool,
    /// Bytes of a page.
    pub block_bytes: u32,
    /// An extension of this database whose tables store rows outside their own heap.
    pub foreign_slicing_extension: Option<String>,
    /// It knows `restrict_nonsystem_relation_kind`, which keeps a view from replacing a table. The
    /// parameter came with minor releases.
    pub restricts_relation_kinds: bool,
    /// The process that answers, `pg_backend_pid()`. Behind a pooler it differs from the one in the
    /// session's cancel key.
    pub backend_pid: Option<i32>,
}

/// The query of [`server_traits`].
pub(crate) const TRAITS: &str = "SELECT pg_catalog.version(), pg_catalog.pg_is_in_recovery(), \
                 pg_catalog.current_setting('block_size'), \
                 (SELECT pg_catalog.min(e.extname::pg_catalog.text) FROM pg_catalog.pg_extension e \
                  WHERE e.extname OPERATOR(pg_catalog.=) ANY ('{citus,timescaledb}'::pg_catalog.name[])), \
                 pg_catalog.pg_backend_pid(), \
                 pg_catalog.current_setting('restrict_nonsystem_relation_kind', true)";

/// The server's traits. One query, inside or outside a transaction.
///
/// # Errors
///
/// Errors of the server.
pub fn server_traits(session: &mut Session) -> Result<ServerTraits, CatalogError> {
    let rows = session.query(TRAITS, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let version = text(row, 0)?;
    Ok(ServerTraits {
        is_plain_postgres: is_plain(&version),
        product: product(&version).to_owned(),
        in_recovery: row.text(1) == Some("t"),
        block_bytes: parsed(row, 2)?,
        foreign_slicing_extension: row.text(3).map(str::to_owned),
        restricts_relation_kinds: row.text(5).is_some(),
        backend_pid: row.text(4).and_then(|pid| pid.parse().ok()),
    })
}

/// Whether this is the `version()` of PostgreSQL itself:
/// `PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc …, 64-bit`.
/// Forks change the number, or add a name in parentheses or at the end.
pub fn is_plain(version: &str) -> bool {
    /// Packagers that change nothing in how rows are stored. EnterpriseDB's server keeps its tables in
    /// PostgreSQL's heap.
    const PACKAGERS: [&str; 9] = [
        "alpine",
        "debian",
        "enterprisedb",
        "fedora",
        "homebrew",
        "postgres.app",
        "raspbian",
        "red hat",
        "ubuntu",
    ];
    let Some(rest) = version.strip_prefix("PostgreSQL ") else {
        return false;
    };
    let (number, rest) = rest.split_at(rest.find([' ', ',']).unwrap_or(rest.len()));
    // 15.18, 19devel, 18beta1, 17rc1.
    let stage = number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let stage = stage.trim_end_matches(|c: char| c.is_ascii_digit());
    if !number.starts_with(|c: char| c.is_ascii_digit()) || !matches!(stage, "" | "devel" | "beta" | "rc") {
        return false;
    }
    let rest = rest.to_ascii_lowercase();
    let is_packager = |text: &str| PACKAGERS.iter().any(|name| text.starts_with(name));
    let rest = match rest.strip_prefix(" (").and_then(|rest| rest.split_once(')')) {
        Some((packager, rest)) if is_packager(packager) => rest,
        Some(_) => return false,
        None => &rest,
    };
    let ends_plainly = rest.is_empty() || rest.ends_with("64-bit") || rest.ends_with("32-bit");
    ends_plainly && (rest.is_empty() || rest.starts_with(" on ") || rest.starts_with(", compiled by "))
}

/// The name, version number and packager.
fn product(version: &str) -> &str {
    version.split(" on ").next().and_then(|text| text.split(", compiled").next()).unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_plain() {
        for version in [
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) \
             12.2.0, 64-bit",
            "PostgreSQL 14.11 (Ubuntu 14.11-0ubuntu0.22.04.1) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit",
            "PostgreSQL 18.0 on aarch64-unknown-linux-musl, compiled by gcc (Alpine 13) 13.2, 64-bit",
            "PostgreSQL 19devel on x86_64-pc-linux-gnu, compiled by gcc-14.2.0, 64-bit",
            "PostgreSQL 18beta1 on x86_64-pc-linux-gnu, compiled by gcc-14.2.0, 64-bit",
            "PostgreSQL 16.2, compiled by Visual C++ build 1937, 64-bit",
        ] {
            assert!(is_plain(version), "{version}");
        }
    }

    #[test]
    fn forks_are_not() {
        for version in [
            "PostgreSQL 9.4.26 (Greenplum Database 6.21.0 build) on x86_64-unknown-linux-gnu, compiled by gcc, 64-bit",
            "PostgreSQL 14.4 (Apache Cloudberry 2.0.0 build) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit",
            "PostgreSQL 11.2-YB-2.15.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang version 13.0.1, 64-bit",
            "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.12103",
            "PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB",
            "PostgreSQL 9.5.0 on x86_64-unknown-linux-gnu (Materialize v0.26.0)",
            "PostgreSQL 9.5-RisingWave-1.0.0 (a1b2)",
            "CockroachDB CCL v23.1.0 (x86_64-pc-linux-gnu, built 2023/05/15, go1.19.4)",
            "(openGauss 5.0.0 build a07d57c3) compiled at 2023-03-29, 64-bit",
            "",
        ] {
            assert!(!is_plain(version), "{version}");
        }
    }

    #[test]
    fn products() {
        let version =
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit";
        assert_eq!(product(version), "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)");
        assert_eq!(product("PostgreSQL 16.2, compiled by Visual C++ build 1937, 64-bit"), "PostgreSQL 16.2");
    }
}

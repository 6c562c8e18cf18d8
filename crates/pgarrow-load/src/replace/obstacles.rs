//! What prevents a replacement: properties that a new table would lose, and objects that depend on the old
//! one.

use pgarrow_catalog::Relation;
use pgarrow_protocol::{Row, Session};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::option::MODE;
use pgarrow_types::{Message, message};

use super::{only_row, query, text};

fn advice() -> Message {
    message![MODE.to("truncate"), " keeps the table"]
}

/// Checks that the table can be copied, and in the end dropped, without loss. It tries no DROP: a DROP would
/// wait for all readers of the table, and everybody else would wait for the DROP.
///
/// # Errors
///
/// [`ErrorKind::Options`] with all obstacles.
pub(super) fn check(session: &mut Session, old: &Relation) -> Result<()> {
    let refuse =
        |text: String| Err(Error::new(ErrorKind::Options, format!("{old} cannot be replaced: {text}")));
    if only_row(session, IS_OWNED, old)?.text(0) != Some("t") {
        return refuse("only its owner can do that, or a member of the role that owns it".to_owned());
    }
    if let Some(obstacles) = found(session, old)? {
        return refuse(format!("a new table would not have {obstacles}"))
            .map_err(|error| error.advice(advice()));
    }
    let mut names =
        |sql| Ok::<Vec<String>, Error>(query(session, sql, &[old])?.iter().map(|row| text(row, 0)).collect());
    let dependents = names(DEPENDENTS)?;
    match dependents.as_slice() {
        [] => {}
        [one] => {
            return refuse(format!("{one} needs this very table")).map_err(|error| error.advice(advice()));
        }
        all => {
            return refuse(format!("{} need this very table", all.join(", ")))
                .map_err(|error| error.advice(advice()));
        }
    }
    let closed = names(CLOSED)?;
    if closed.is_empty() {
        return Ok(());
    }
    let closed = closed.join(", ");
    refuse(format!("its foreign keys refer to {closed}, and this role may not refer to that"))
        .map_err(|error| error.advice(format!("GRANT REFERENCES on {closed}, and USAGE on the schema")))
}

/// Checks for obstacles again, when nobody can change the old table any more. The DROP itself finds
/// dependent objects.
///
/// # Errors
///
/// [`ErrorKind::Server`] with all new obstacles.
pub(super) fn check_again(session: &mut Session, old: &Relation) -> Result<()> {
    let Some(obstacles) = found(session, old)? else { return Ok(()) };
    let text = format!("{old} was given {obstacles} while it was loaded, which the new table would not have");
    Err(Error::new(ErrorKind::Server, text).advice("nothing was loaded").advice(advice()))
}

/// The properties that a new table would lose.
fn found(session: &mut Session, old: &Relation) -> Result<Option<String>> {
    let obstacle = |row: &Row| match row.text(1) {
        Some(name) => format!("{} {name:?}", text(row, 0)),
        None => text(row, 0),
    };
    let obstacles: Vec<String> = query(session, OBSTACLES, &[old])?.iter().map(obstacle).collect();
    Ok((!obstacles.is_empty()).then(|| obstacles.join(", ")))
}

/// The copied properties that can change meanwhile, because their locks do not conflict with an INSERT or
/// concern only an index: options, comments, identity settings. Used for comparison.
pub(super) fn definition(session: &mut Session, old: &Relation) -> Result<String> {
    Ok(text(&only_row(session, DEFINITION, old)?, 0))
}

/// Options of the table and of its TOAST table; comments of columns; indexes; constraints with comments;
/// statistics; identities.
const DEFINITION: &str = "SELECT pg_catalog.jsonb_build_array(c.reloptions, \
      (SELECT t.reloptions FROM pg_catalog.pg_class t WHERE t.oid OPERATOR(pg_catalog.=) c.reltoastrelid), \
      (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname, d.description) ORDER BY a.attnum) \
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) a.attrelid \
          AND d.objsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4 \
          AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
        WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2), \
      (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(i.oid::pg_catalog.text, i.reloptions, \
          pg_catalog.obj_description(i.oid, 'pg_class')) ORDER BY i.oid) \
        FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid \
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid), \
      (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(k.oid::pg_catalog.text, \
          pg_catalog.obj_description(k.oid, 'pg_constraint')) ORDER BY k.oid) \
        FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid \
          AND pg_catalog.obj_description(k.oid, 'pg_constraint') IS NOT NULL), \
      (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(s.oid::pg_catalog.text, \
          pg_catalog.obj_description(s.oid, 'pg_statistic_ext')) ORDER BY s.oid) \
        FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid OPERATOR(pg_catalog.=) c.oid), \
      (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(q) ORDER BY q.seqrelid) \
        FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) q.seqrelid \
          AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
          AND d.refclassid OPERATOR(pg_catalog.=) d.classid AND d.deptype OPERATOR(pg_catalog.=) 'i' \
        WHERE d.refobjid OPERATOR(pg_catalog.=) c.oid))::pg_catalog.text \
    FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// Tables that foreign keys refer to, but that this role may not reference. Keys for partitions of such a
/// table are covered by its own key.
///
/// Source: `checkFkeyPermissions` in PostgreSQL's `src/backend/commands/tablecmds.c`.
const CLOSED: &str = "SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, p.relname) FROM pg_catalog.pg_constraint k \
    JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) k.confrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.relnamespace \
    WHERE k.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND k.contype OPERATOR(pg_catalog.=) 'f' \
      AND COALESCE(pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conparentid', '0') OPERATOR(pg_catalog.=) '0' \
      AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND COALESCE( \
        (SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(p.oid, a.attnum, 'REFERENCES')) \
          FROM pg_catalog.unnest(k.confkey) AS a(attnum)), false)) \
    ORDER BY 1";

/// Superusers own everything.
const IS_OWNED: &str = "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
    WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// Objects that would make DROP TABLE fail: they depend on the table, or on something dropped with it, and
/// are not dropped with it. Sequences of non-identity columns move to the new table before. A rule is shown
/// as its view.
///
/// Source: `findDependentObjects` in PostgreSQL's `src/backend/catalog/dependency.c`; kinds of dependencies
/// as in `src/include/catalog/dependency.h`.
const DEPENDENTS: &str = "WITH RECURSIVE part(classid, objid) AS ( \
      SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, $1::pg_catalog.oid \
      UNION \
      SELECT d.classid, d.objid FROM part p \
      JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) p.classid \
        AND d.refobjid OPERATOR(pg_catalog.=) p.objid \
      LEFT JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) d.objid \
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
        AND s.relkind OPERATOR(pg_catalog.=) 'S' \
      WHERE d.deptype OPERATOR(pg_catalog.=) ANY ('{i,P,S,x}'::pg_catalog.\"char\"[]) \
        OR d.deptype OPERATOR(pg_catalog.=) 'a' AND s.oid IS NULL) \
    SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) \
      ELSE pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, r.ev_class, 0) END \
    FROM part p \
    JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) p.classid \
      AND d.refobjid OPERATOR(pg_catalog.=) p.objid \
    LEFT JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid \
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid \
    WHERE d.deptype OPERATOR(pg_catalog.=) 'n' AND NOT EXISTS (SELECT FROM part q \
      WHERE q.classid OPERATOR(pg_catalog.=) d.classid AND q.objid OPERATOR(pg_catalog.=) d.objid) \
    ORDER BY 1";

/// What a new table would lose: its kind, and its name if it has one.
const OBSTACLES: &str = "SELECT 'the trigger', tgname FROM pg_catalog.pg_trigger \
      WHERE tgrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND NOT tgisinternal \
    UNION ALL SELECT 'the policy', polname FROM pg_catalog.pg_policy \
      WHERE polrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'the rule', rulename FROM pg_catalog.pg_rewrite \
      WHERE ev_class OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'the publication', p.pubname FROM pg_catalog.pg_publication_rel r \
      JOIN pg_catalog.pg_publication p ON p.oid OPERATOR(pg_catalog.=) r.prpubid \
      WHERE r.prrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'the foreign key', conname FROM pg_catalog.pg_constraint \
      WHERE confrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'the options of column', attname FROM pg_catalog.pg_attribute \
      WHERE attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND attoptions IS NOT NULL AND NOT attisdropped \
    UNION ALL SELECT 'its inheritance', NULL FROM pg_catalog.pg_inherits \
      WHERE inhrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid OR inhparent OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'its security label', NULL FROM pg_catalog.pg_seclabel \
      WHERE objoid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
        AND classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
    UNION ALL SELECT 'the extension that it belongs to', NULL FROM pg_catalog.pg_depend \
      WHERE objid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND deptype OPERATOR(pg_catalog.=) 'e' \
        AND classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
    UNION ALL SELECT 'its row security', NULL FROM pg_catalog.pg_class \
      WHERE oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND (relrowsecurity OR relforcerowsecurity) \
    UNION ALL SELECT 'the subscription that fills it', NULL FROM pg_catalog.pg_subscription_rel \
      WHERE srrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
    UNION ALL SELECT 'the rights to its type', NULL FROM pg_catalog.pg_type \
      WHERE typrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND typacl IS NOT NULL \
    UNION ALL SELECT 'its replica identity', NULL FROM pg_catalog.pg_class \
      WHERE oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND relreplident OPERATOR(pg_catalog.<>) 'd' \
    UNION ALL SELECT 'the type that it is of', NULL FROM pg_catalog.pg_class \
      WHERE oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND reloftype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
    UNION ALL SELECT 'the session that it is of', NULL FROM pg_catalog.pg_class \
      WHERE oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND relpersistence OPERATOR(pg_catalog.=) 't'";

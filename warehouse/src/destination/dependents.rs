//! What stands in the way when a relation of the destination is altered or made anew: one question to the catalog. The
//! answers are values of `merge`, which makes statements of them.

use super::belongings::{of_relation, oid};
use super::{Connection, DestinationError};
use crate::merge::belongings::Belongings;
use crate::merge::dependents::{Dependent, Kind};
use crate::merge::dialect::Dialect;
use crate::merge::names::TargetName;

/// The first kernel whose dependents are asked for through all steps: the clusters of older ones know no recursive queries.
const RECURSIVE: u32 = 10;

/// What depends on a table: on these of its columns, or on any part of it, and then what it is a part of as well. What DROP
/// TABLE takes without a word, triggers and policies, is among it; what is made again, indexes and constraints of its own, is
/// not. On an old kernel only what depends on the table itself.
pub async fn dependents(
    connection: &mut Connection,
    dialect: Dialect,
    target: &TargetName,
    columns: Option<&[String]>,
) -> Result<Vec<Dependent>, DestinationError> {
    let Some(oid) = oid(connection, target).await? else { return Ok(Vec::new()) };
    let during = || DestinationError::during(format!("asking what depends on {target}"));
    let statement = connection.prepared(&dependents_sql(dialect)).await.map_err(during())?;
    let mut rows = connection.query(&statement, &[&oid, &columns]).await.map_err(during())?;
    if columns.is_none() {
        let statement = connection.prepared(attachments_sql(dialect)).await.map_err(during())?;
        rows.extend(connection.query(&statement, &[&oid]).await.map_err(during())?);
    }
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let text = |column: usize| row.get::<_, Option<String>>(column).unwrap_or_default();
        let belongings = match row.get::<_, Option<u32>>(5) {
            Some(view) => of_relation(connection, dialect, view).await?,
            None => Belongings::default(),
        };
        found.push(Dependent {
            kind: Kind::parse(&text(0)),
            name: text(1),
            on: text(2),
            definition: text(3),
            depth: row.get(4),
            belongings,
        });
    }
    Ok(found)
}

/// Kind, name, table that it is a part of, definition, steps away, oid of a view. A part is asked for where the kernel has its
/// catalogs.
fn dependents_sql(dialect: Dialect) -> String {
    let parts: &[&str] = match dialect.kernel {
        ..RECURSIVE if dialect.distributed => &[OLD_DEPENDENTS, CLUSTER_PARTITIONS],
        ..RECURSIVE => &[OLD_DEPENDENTS, CHILD_TABLES],
        10 => &[DEPENDENTS, OLD_FUNCTIONS, LAST_DEPENDENTS],
        11 => &[DEPENDENTS, FUNCTIONS, LAST_DEPENDENTS],
        _ => &[DEPENDENTS, GENERATED_COLUMNS, FUNCTIONS, LAST_DEPENDENTS],
    };
    format!("{} ORDER BY 5, 1, 2", parts.join(" "))
}

/// What the table is a part of, in the columns of [`dependents_sql`].
fn attachments_sql(dialect: Dialect) -> &'static str {
    match dialect.kernel {
        ..RECURSIVE if dialect.distributed => CLUSTER_ATTACHMENTS,
        ..RECURSIVE => OLD_ATTACHMENTS,
        _ => ATTACHMENTS,
    }
}

const ATTACHMENTS: &str = "\
 SELECT CASE WHEN c.relispartition THEN 'partitioned table' ELSE 'parent table' END, i.inhparent::regclass::text, \
 c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid), 0, NULL::oid FROM pg_inherits i JOIN pg_class c \
 ON c.oid = i.inhrelid WHERE c.oid = $1 \
 UNION ALL SELECT 'partitioning', pg_get_partkeydef(c.oid), c.oid::regclass::text, NULL, 0, NULL FROM pg_class c \
 WHERE c.oid = $1 AND c.relkind = 'p'";

const OLD_ATTACHMENTS: &str = "\
 SELECT 'parent table', i.inhparent::regclass::text, i.inhrelid::regclass::text, NULL::text, 0, NULL::oid FROM pg_inherits i \
 WHERE i.inhrelid = $1";

/// A cluster of a 9.4 kernel keeps its partitions in catalogs of its own, and their inheritance beside them. No statement gives
/// one back its place, so there is no definition.
const CLUSTER_ATTACHMENTS: &str = "\
 SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_partition_rule r WHERE r.parchildrelid = i.inhrelid) THEN 'partitioned table' \
 ELSE 'parent table' END, i.inhparent::regclass::text, i.inhrelid::regclass::text, NULL::text, 0, NULL::oid FROM pg_inherits i \
 WHERE i.inhrelid = $1 \
 UNION ALL SELECT 'partitioning', CASE p.parkind WHEN 'l' THEN 'LIST' ELSE 'RANGE' END || ' (' || (SELECT \
 string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = p.parrelid AND a.attnum = ANY \
 (p.paratts)) || ')', p.parrelid::regclass::text, NULL, 0, NULL FROM pg_partition p WHERE p.parrelid = $1 AND p.parlevel = 0 \
 AND NOT p.paristemplate";

/// One step away. What depends on columns, a trigger among it, depends on them by name.
const OLD_DEPENDENTS: &str = "\
 SELECT DISTINCT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, quote_ident(s.nspname) || '.' || \
 quote_ident(c.relname), NULL::text, pg_get_viewdef(c.oid), 1, c.oid FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid \
 JOIN pg_class c ON c.oid = w.ev_class AND c.relkind IN ('v', 'm') JOIN pg_namespace s ON s.oid = c.relnamespace \
 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 \
 AND ($2::text[] IS NULL OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum = d.refobjsubid \
 AND a.attname = ANY ($2::text[]))) \
 UNION ALL SELECT DISTINCT 'rule', quote_ident(r.rulename), r.ev_class::regclass::text, pg_get_ruledef(r.oid), 1, NULL::oid \
 FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = \
 'pg_class'::regclass AND d.refobjid = $1 JOIN pg_class c ON c.oid = r.ev_class AND NOT c.relkind IN ('v', 'm') \
 WHERE $2::text[] IS NULL OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum = d.refobjsubid \
 AND a.attname = ANY ($2::text[])) \
 UNION ALL SELECT 'foreign key', quote_ident(o.conname), o.conrelid::regclass::text, pg_get_constraintdef(o.oid), 1, NULL::oid \
 FROM pg_constraint o WHERE o.confrelid = $1 AND o.conrelid <> $1 AND o.contype = 'f' AND ($2::text[] IS NULL OR EXISTS (SELECT 1 \
 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum = ANY (o.confkey) AND a.attname = ANY ($2::text[]))) \
 UNION ALL SELECT 'trigger', quote_ident(t.tgname), t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), 1, NULL::oid \
 FROM pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND ($2::text[] IS NULL OR EXISTS (SELECT 1 FROM pg_depend d \
 JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_trigger'::regclass \
 AND d.objid = t.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND a.attname = ANY ($2::text[])))";

const CHILD_TABLES: &str = "\
 UNION ALL SELECT 'child table', i.inhrelid::regclass::text, i.inhparent::regclass::text, NULL, 1, NULL FROM pg_inherits i \
 WHERE i.inhparent = $1 AND $2::text[] IS NULL";

const CLUSTER_PARTITIONS: &str = "\
 UNION ALL SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_partition_rule r WHERE r.parchildrelid = i.inhrelid) THEN 'partition' \
 ELSE 'child table' END, i.inhrelid::regclass::text, i.inhparent::regclass::text, NULL, 1, NULL FROM pg_inherits i \
 WHERE i.inhparent = $1 AND $2::text[] IS NULL";

/// A view depends by its rule, and is what the next step starts from. What depends on the row type counts where the whole table
/// does.
const DEPENDENTS: &str = "\
 WITH RECURSIVE roots (class, id, sub) AS ( \
 SELECT d.classid, d.objid, d.objsubid FROM pg_depend d WHERE d.deptype <> 'i' AND d.refclassid = 'pg_class'::regclass \
 AND d.refobjid = $1 AND ($2::text[] IS NULL OR d.refobjsubid IN (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid \
 = $1 AND a.attname = ANY ($2::text[]))) \
 UNION SELECT d.classid, d.objid, d.objsubid FROM pg_class c JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND \
 d.refobjid = c.reltype WHERE c.oid = $1 AND d.deptype <> 'i' AND $2::text[] IS NULL \
 ), found (class, id, sub, depth) AS ( \
 SELECT CASE WHEN v.oid IS NULL THEN s.class ELSE 'pg_class'::regclass::oid END, coalesce(v.oid, s.id), CASE WHEN v.oid \
 IS NULL THEN s.sub ELSE 0 END, 1 \
 FROM roots s LEFT JOIN pg_rewrite w ON s.class = 'pg_rewrite'::regclass AND w.oid = s.id LEFT JOIN pg_class v ON v.oid \
 = w.ev_class AND v.relkind IN ('v', 'm') \
 UNION \
 SELECT CASE WHEN v.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END, coalesce(v.oid, d.objid), CASE WHEN \
 v.oid IS NULL THEN d.objsubid ELSE 0 END, f.depth + 1 \
 FROM found f JOIN pg_class u ON f.class = 'pg_class'::regclass AND u.oid = f.id AND u.relkind IN ('v', 'm') \
 JOIN pg_depend d ON d.deptype <> 'i' AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = u.oid OR d.refclassid = \
 'pg_type'::regclass AND d.refobjid = u.reltype) \
 LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid LEFT JOIN pg_class v ON v.oid = \
 w.ev_class AND v.relkind IN ('v', 'm') \
 WHERE v.oid IS DISTINCT FROM u.oid AND f.depth < 30 \
 ), known (class, id, sub, depth) AS (SELECT class, id, max(sub), max(depth) FROM found GROUP BY class, id) \
 SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, n.name, NULL, pg_get_viewdef(c.oid), k.depth, \
 c.oid FROM known k JOIN pg_class c ON k.class = 'pg_class'::regclass AND c.oid = k.id AND c.relkind IN ('v', 'm') \
 CROSS JOIN LATERAL (SELECT quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name FROM pg_namespace s WHERE \
 s.oid = c.relnamespace) n \
 UNION ALL SELECT 'rule', quote_ident(r.rulename), r.ev_class::regclass::text, pg_get_ruledef(r.oid), k.depth, NULL \
 FROM known k JOIN pg_rewrite r ON k.class = 'pg_rewrite'::regclass AND r.oid = k.id \
 UNION ALL SELECT 'foreign key', quote_ident(o.conname), o.conrelid::regclass::text, pg_get_constraintdef(o.oid), \
 k.depth, NULL FROM known k JOIN pg_constraint o ON k.class = 'pg_constraint'::regclass AND o.oid = k.id AND o.contype \
 = 'f' AND o.conrelid <> $1 \
 UNION ALL SELECT 'trigger', quote_ident(t.tgname), t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), k.depth, NULL \
 FROM known k JOIN pg_trigger t ON k.class = 'pg_trigger'::regclass AND t.oid = k.id AND NOT t.tgisinternal \
 UNION ALL SELECT 'policy', quote_ident(p.polname), p.polrelid::regclass::text, concat('AS ', CASE WHEN p.polpermissive \
 THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, ' FOR ', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN \
 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, ' TO ', (SELECT string_agg(CASE WHEN e.oid = 0 THEN 'PUBLIC' \
 ELSE quote_ident(pg_get_userbyid(e.oid)) END, ', ') FROM unnest(p.polroles) AS e (oid)), ' USING (' || \
 pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', \
 (SELECT concat(CASE WHEN y.relrowsecurity THEN format('; ALTER TABLE %s ENABLE ROW LEVEL SECURITY', y.oid::regclass) END, \
 CASE WHEN y.relforcerowsecurity THEN format('; ALTER TABLE %s FORCE ROW LEVEL SECURITY', y.oid::regclass) END) \
 FROM pg_class y WHERE y.oid = p.polrelid)), \
 k.depth, NULL FROM known k JOIN pg_policy p ON k.class = 'pg_policy'::regclass AND p.oid = k.id";

const GENERATED_COLUMNS: &str = "\
 UNION ALL SELECT 'generated column', quote_ident(a.attname), a.attrelid::regclass::text, \
 concat(format_type(a.atttypid, a.atttypmod), ' GENERATED ALWAYS AS (', pg_get_expr(e.adbin, e.adrelid), ') STORED'), \
 k.depth, NULL FROM known k JOIN pg_attrdef e ON k.class = 'pg_attrdef'::regclass AND e.oid = k.id JOIN pg_attribute a \
 ON a.attrelid = e.adrelid AND a.attnum = e.adnum AND a.attgenerated <> '' WHERE $2::text[] IS NOT NULL AND NOT \
 a.attname = ANY ($2::text[])";

const FUNCTIONS: &str = "\
 UNION ALL SELECT 'function', p.oid::regprocedure::text, NULL, CASE WHEN p.prokind <> 'a' THEN \
 pg_get_functiondef(p.oid) END, k.depth, NULL FROM known k JOIN pg_proc p ON k.class = 'pg_proc'::regclass AND p.oid = \
 k.id";

const OLD_FUNCTIONS: &str = "\
 UNION ALL SELECT 'function', p.oid::regprocedure::text, NULL, CASE WHEN NOT p.proisagg THEN \
 pg_get_functiondef(p.oid) END, k.depth, NULL FROM known k JOIN pg_proc p ON k.class = 'pg_proc'::regclass AND p.oid = \
 k.id";

const LAST_DEPENDENTS: &str = "\
 UNION ALL SELECT CASE WHEN c.relispartition THEN 'partition' ELSE 'child table' END, c.oid::regclass::text, i.inhparent::regclass::text, NULL, k.depth, NULL FROM known k \
 JOIN pg_class c ON k.class = 'pg_class'::regclass AND c.oid = k.id JOIN pg_inherits i ON i.inhrelid = c.oid AND \
 i.inhparent = $1 WHERE NOT c.relkind IN ('i', 'I') \
 UNION ALL SELECT 'other', pg_describe_object(k.class, k.id, k.sub), NULL, NULL, k.depth, NULL FROM known k LEFT JOIN \
 pg_class c ON k.class = 'pg_class'::regclass AND c.oid = k.id WHERE k.class NOT IN ('pg_rewrite'::regclass, \
 'pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_proc'::regclass, \
 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass) AND (k.class <> 'pg_class'::regclass OR c.relkind IN \
 ('r', 'p', 'f', 'c') AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = $1))";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::dialect::Probe;

    fn dialect(version: &str, distributed: bool) -> Dialect {
        let version = version.to_owned();
        Dialect::of(&Probe { version, on_conflict: false, merge: false, distributed })
    }

    #[test]
    fn each_kernel_is_asked_by_the_catalogs_that_it_has() {
        let asked = |version: &str, distributed| {
            let dialect = dialect(version, distributed);
            let sql = dependents_sql(dialect) + attachments_sql(dialect);
            assert_eq!(sql.matches("UNION ALL").count(), sql.matches(" UNION ALL ").count(), "{sql}");
            sql
        };
        let cluster = asked("PostgreSQL 9.4.26 (Greenplum Database 6.24.0)", true);
        for catalog in
            ["pg_partition_rule", "pg_partition p", "'partitioned table'", "'partition'", "'partitioning'"]
        {
            assert!(cluster.contains(catalog), "{catalog}");
        }
        let single = asked("PostgreSQL 9.4.26", false);
        assert!(!single.contains("pg_partition"), "{single}");
        for old in [&cluster, &single] {
            // A column that a trigger names is told from the others of the table.
            assert!(
                old.contains("d.classid = 'pg_trigger'::regclass")
                    && old.contains("a.attname = ANY ($2::text[])")
            );
            for later in ["RECURSIVE", "relispartition", "pg_policy", "attgenerated", "prokind", "regrole"] {
                assert!(!old.contains(later), "{later}");
            }
        }
        let (ten, eleven) = (asked("PostgreSQL 10.23", false), asked("PostgreSQL 11.22", false));
        for between in [&ten, &eleven] {
            assert!(between.contains("relispartition") && between.contains("pg_trigger"));
            assert!(!between.contains("attgenerated"), "since 12");
        }
        assert!(ten.contains("NOT p.proisagg") && !ten.contains("prokind"), "since 11");
        let now = asked("PostgreSQL 15.4", false);
        assert!(now.contains("attgenerated") && now.contains("prokind") && !now.contains("proisagg"));
    }
}

//! What hangs on a relation of the destination, and what stands in the way when it is altered or made anew: one question
//! to the catalog each. The answers are values of `merge`, which makes statements of them.

use super::{Connection, DestinationError};
use crate::merge::belongings::{Belonging, Belongings};
use crate::merge::dependents::{Dependent, Kind};
use crate::merge::dialect::Dialect;
use crate::merge::names::TargetName;

/// The first kernel whose dependents are asked for through all steps; the clusters of older ones know no recursive queries.
const RECURSIVE: u32 = 12;

/// What hangs on a table; nothing if there is no such table.
///
/// # Errors
/// What the server says.
pub async fn belongings(
    connection: &mut Connection,
    dialect: Dialect,
    target: &TargetName,
) -> Result<Belongings, DestinationError> {
    match oid(connection, target).await? {
        Some(oid) => of_relation(connection, dialect, oid).await,
        None => Ok(Belongings::default()),
    }
}

async fn oid(connection: &mut Connection, target: &TargetName) -> Result<Option<u32>, DestinationError> {
    let during = || DestinationError::during(format!("looking for {target}"));
    let statement = connection.prepared(OID).await.map_err(during())?;
    let row = connection.query_opt(&statement, &[&target.schema, &target.table]).await.map_err(during())?;
    Ok(row.map(|row| row.get(0)))
}

async fn of_relation(
    connection: &mut Connection,
    dialect: Dialect,
    oid: u32,
) -> Result<Belongings, DestinationError> {
    let during = || DestinationError::during("reading what hangs on a table");
    let statement = connection.prepared(&belongings_sql(dialect)).await.map_err(during())?;
    let rows = connection.query(&statement, &[&oid]).await.map_err(during())?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let text = |column: usize| row.get::<_, Option<String>>(column);
            let column = text(1);
            let name = column.clone().unwrap_or_default();
            let definition = text(2).unwrap_or_default();
            Some(match row.get::<_, &str>(0) {
                "column" => Belonging::Column {
                    position: text(3).and_then(|position| position.parse().ok()).unwrap_or_default(),
                    name,
                    definition,
                    generated: text(4).is_some(),
                },
                "constraint" => Belonging::Constraint { name, definition },
                "index" => Belonging::Index { definition },
                "rule" => Belonging::Rule { definition },
                "statistics" => Belonging::Statistics { definition },
                "parameter" => Belonging::Parameter(definition),
                "tablespace" => Belonging::Tablespace(definition),
                "setting" => Belonging::ColumnSetting { column: name, setting: definition },
                "comment" => Belonging::Comment { column, text: definition },
                "replica identity" => Belonging::ReplicaIdentity(definition),
                "publication" => {
                    Belonging::Publication { name: definition, limits: text(3).unwrap_or_default() }
                }
                "row security" => Belonging::RowSecurity(definition),
                "default grantee" => Belonging::DefaultGrantee(text(3)),
                "sequence" => Belonging::Sequence { name: definition, column: name },
                "privilege" => Belonging::Privilege {
                    column,
                    privilege: definition,
                    role: text(3),
                    grantable: text(4).as_deref() == Some("t"),
                },
                "owner" => Belonging::Owner(definition),
                _ => return None,
            })
        })
        .collect())
}

/// What depends on a table: on these of its columns, or on any part of it, and then what it is a part of as well. What DROP
/// TABLE takes without a word, triggers and policies, is among it; what is made again, indexes and constraints of its own, is
/// not. On an old kernel only what depends on the table itself, and nothing of single columns.
///
/// # Errors
/// What the server says.
pub async fn dependents(
    connection: &mut Connection,
    dialect: Dialect,
    target: &TargetName,
    columns: Option<&[String]>,
) -> Result<Vec<Dependent>, DestinationError> {
    let Some(oid) = oid(connection, target).await? else { return Ok(Vec::new()) };
    let during = || DestinationError::during(format!("asking what depends on {target}"));
    let mut rows = Vec::new();
    if dialect.kernel >= RECURSIVE {
        let statement = connection.prepared(DEPENDENTS).await.map_err(during())?;
        rows.extend(connection.query(&statement, &[&oid, &columns]).await.map_err(during())?);
    }
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

const OID: &str = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = $2";

/// Kind, column or name, definition, and two more that differ by kind: role and option of a privilege. Names in definitions
/// have their schemas: sessions look in `pg_catalog` alone. A part is asked for where the kernel has its catalogs.
fn belongings_sql(dialect: Dialect) -> String {
    let column = if dialect.kernel >= 12 { COLUMNS } else { PLAIN_COLUMNS };
    let publications = if dialect.kernel >= 15 { LIMITED_PUBLICATIONS } else { PUBLICATIONS };
    let parts = [(0, column), (0, BELONGINGS), (10, LATER_BELONGINGS), (10, publications)];
    let parts = parts.iter().filter(|(since, _)| dialect.kernel >= *since);
    parts.map(|(_, sql)| *sql).collect::<Vec<_>>().join(" UNION ALL ")
}

const COLUMNS: &str = "\
 SELECT 'column', a.attname::text, concat(format_type(a.atttypid, a.atttypmod), \
 (SELECT ' COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l \
 JOIN pg_namespace n ON n.oid = l.collnamespace JOIN pg_type y ON y.oid = a.atttypid \
 WHERE l.oid = a.attcollation AND a.attcollation <> y.typcollation), \
 CASE WHEN a.attgenerated <> '' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED' \
 WHEN a.attidentity <> '' THEN (SELECT format(' GENERATED %s AS IDENTITY (INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s %s \
 START WITH %s)', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, q.seqincrement, q.seqmin, q.seqmax, \
 q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END, CASE WHEN v.next BETWEEN q.seqmin AND q.seqmax \
 THEN v.next ELSE q.seqstart END) FROM pg_depend e JOIN pg_sequence q ON q.seqrelid = e.objid \
 CROSS JOIN LATERAL (SELECT pg_sequence_last_value(q.seqrelid)::numeric + q.seqincrement AS next) v \
 WHERE e.classid = 'pg_class'::regclass AND e.refclassid = 'pg_class'::regclass AND e.refobjid = a.attrelid \
 AND e.refobjsubid = a.attnum AND e.deptype = 'i') \
 ELSE ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END, CASE WHEN a.attnotnull THEN ' NOT NULL' END), a.attnum::text, \
 CASE WHEN a.attgenerated <> '' THEN 't' END \
 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum JOIN pg_class c ON c.oid = a.attrelid \
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')";

const PLAIN_COLUMNS: &str = "\
 SELECT 'column', a.attname::text, concat(format_type(a.atttypid, a.atttypmod), \
 (SELECT ' COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l \
 JOIN pg_namespace n ON n.oid = l.collnamespace JOIN pg_type y ON y.oid = a.atttypid \
 WHERE l.oid = a.attcollation AND a.attcollation <> y.typcollation), \
 ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attnotnull THEN ' NOT NULL' END), a.attnum::text, NULL::text \
 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum JOIN pg_class c ON c.oid = a.attrelid \
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')";

/// What every kernel has.
const BELONGINGS: &str = "\
 SELECT 'constraint', o.conname::text, pg_get_constraintdef(o.oid), NULL, NULL FROM pg_constraint o \
 WHERE o.conrelid = $1 AND o.contype IN ('u', 'c', 'x', 'f') AND o.conislocal \
 UNION ALL SELECT 'index', NULL, pg_get_indexdef(i.indexrelid), NULL, NULL FROM pg_index i WHERE i.indrelid = $1 \
 AND NOT i.indisprimary AND NOT EXISTS (SELECT 1 FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype <> 'f') \
 UNION ALL SELECT 'rule', NULL, pg_get_ruledef(r.oid), NULL, NULL FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
 WHERE c.oid = $1 AND c.relkind = 'v' AND r.rulename <> '_RETURN' \
 UNION ALL SELECT 'parameter', NULL, unnest(c.reloptions), NULL, NULL FROM pg_class c WHERE c.oid = $1 \
 UNION ALL SELECT 'parameter', NULL, 'toast.' || unnest(t.reloptions), NULL, NULL FROM pg_class c \
 JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1 \
 UNION ALL SELECT 'tablespace', NULL, t.spcname::text, NULL, NULL FROM pg_class c JOIN pg_tablespace t \
 ON t.oid = c.reltablespace WHERE c.oid = $1 \
 UNION ALL SELECT 'setting', a.attname::text, 'STATISTICS ' || a.attstattarget, NULL, NULL FROM pg_attribute a \
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0 \
 UNION ALL SELECT 'setting', a.attname::text, '(' || array_to_string(a.attoptions, ', ') || ')', NULL, NULL FROM pg_attribute a \
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attoptions IS NOT NULL \
 UNION ALL SELECT 'setting', a.attname::text, 'STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' \
 WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END, NULL, NULL FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid \
 JOIN pg_class c ON c.oid = a.attrelid WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
 AND a.attstorage <> y.typstorage AND c.relkind IN ('r', 'p') \
 UNION ALL SELECT 'comment', a.attname::text, e.description, NULL, NULL FROM pg_description e LEFT JOIN pg_attribute a \
 ON a.attrelid = e.objoid AND a.attnum = e.objsubid AND e.objsubid > 0 WHERE e.classoid = 'pg_class'::regclass AND e.objoid = $1 \
 UNION ALL SELECT 'sequence', a.attname::text, s.oid::regclass::text, NULL, NULL FROM pg_depend d JOIN pg_class s \
 ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.deptype = 'a' \
 UNION ALL SELECT 'privilege', NULL, a.privilege_type, r.rolname::text, CASE WHEN a.is_grantable THEN 't' END FROM pg_class c \
 CROSS JOIN aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee \
 WHERE c.oid = $1 AND a.grantee <> c.relowner AND (a.grantee = 0 OR r.oid IS NOT NULL) \
 UNION ALL SELECT 'privilege', t.attname::text, a.privilege_type, r.rolname::text, CASE WHEN a.is_grantable THEN 't' END \
 FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped CROSS JOIN aclexplode(t.attacl) a \
 LEFT JOIN pg_roles r ON r.oid = a.grantee \
 WHERE c.oid = $1 AND a.grantee <> c.relowner AND (a.grantee = 0 OR r.oid IS NOT NULL) \
 UNION ALL SELECT DISTINCT 'default grantee', NULL, NULL, r.rolname::text, NULL FROM pg_class c \
 JOIN pg_default_acl d ON d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, c.relnamespace) \
 CROSS JOIN aclexplode(d.defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE c.oid = $1 AND c.relkind IN ('v', 'm') \
 AND NOT a.grantee IN (c.relowner, d.defaclrole) AND (a.grantee = 0 OR r.oid IS NOT NULL) \
 UNION ALL SELECT 'owner', NULL, r.rolname::text, NULL, NULL FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner \
 WHERE c.oid = $1";

const LATER_BELONGINGS: &str = "\
 SELECT 'statistics', NULL, pg_get_statisticsobjdef(s.oid), NULL, NULL FROM pg_statistic_ext s WHERE s.stxrelid = $1 \
 UNION ALL SELECT 'replica identity', NULL, CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' \
 ELSE 'USING INDEX ' || (SELECT quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
 WHERE i.indrelid = c.oid AND i.indisreplident) END, NULL, NULL FROM pg_class c \
 WHERE c.oid = $1 AND c.relreplident IN ('f', 'n', 'i') AND c.relkind IN ('r', 'p') \
 UNION ALL SELECT 'row security', NULL, 'ENABLE', NULL, NULL FROM pg_class c WHERE c.oid = $1 AND c.relrowsecurity \
 UNION ALL SELECT 'row security', NULL, 'FORCE', NULL, NULL FROM pg_class c WHERE c.oid = $1 AND c.relforcerowsecurity";

const PUBLICATIONS: &str = "\
 SELECT 'publication', NULL, p.pubname::text, NULL, NULL FROM pg_publication_rel r \
 JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1";

/// With its list of columns and its condition on rows.
const LIMITED_PUBLICATIONS: &str = "\
 SELECT 'publication', NULL, p.pubname::text, concat(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) \
 FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) || ')', \
 ' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')'), NULL FROM pg_publication_rel r \
 JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1";

/// What the table is a part of, in the columns of `DEPENDENTS`; and on an old kernel what depends on it, but for what only
/// further steps lead to.
fn attachments_sql(dialect: Dialect) -> &'static str {
    if dialect.kernel >= RECURSIVE { ATTACHMENTS } else { OLD_DEPENDENTS }
}

const ATTACHMENTS: &str = "\
 SELECT CASE WHEN c.relispartition THEN 'partitioned table' ELSE 'parent table' END, i.inhparent::regclass::text, \
 c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid), 0, NULL::oid FROM pg_inherits i JOIN pg_class c \
 ON c.oid = i.inhrelid WHERE c.oid = $1 \
 UNION ALL SELECT 'partitioning', pg_get_partkeydef(c.oid), c.oid::regclass::text, NULL, 0, NULL FROM pg_class c \
 WHERE c.oid = $1 AND c.relkind = 'p'";

const OLD_DEPENDENTS: &str = "\
 SELECT 'parent table', i.inhparent::regclass::text, i.inhrelid::regclass::text, NULL::text, 0, NULL::oid FROM pg_inherits i \
 WHERE i.inhrelid = $1 \
 UNION ALL SELECT 'child table', i.inhrelid::regclass::text, i.inhparent::regclass::text, NULL, 1, NULL FROM pg_inherits i \
 WHERE i.inhparent = $1 \
 UNION ALL SELECT DISTINCT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, quote_ident(s.nspname) || '.' || \
 quote_ident(c.relname), NULL, pg_get_viewdef(c.oid), 1, c.oid FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid \
 JOIN pg_class c ON c.oid = w.ev_class AND c.relkind IN ('v', 'm') JOIN pg_namespace s ON s.oid = c.relnamespace \
 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 \
 UNION ALL SELECT 'rule', quote_ident(r.rulename), r.ev_class::regclass::text, pg_get_ruledef(r.oid), 1, NULL \
 FROM pg_rewrite r WHERE r.ev_class = $1 \
 UNION ALL SELECT 'foreign key', quote_ident(o.conname), o.conrelid::regclass::text, pg_get_constraintdef(o.oid), 1, NULL \
 FROM pg_constraint o WHERE o.confrelid = $1 AND o.conrelid <> $1 AND o.contype = 'f' \
 UNION ALL SELECT 'trigger', quote_ident(t.tgname), t.tgrelid::regclass::text, pg_get_triggerdef(t.oid), 1, NULL \
 FROM pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal ORDER BY 5, 1, 2";

/// Kind, name, table that it is a part of, definition, steps away, oid of a view. A view depends by its rule, and is what the
/// next step starts from. What depends on the row type counts where the whole table does.
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
 k.depth, NULL FROM known k JOIN pg_policy p ON k.class = 'pg_policy'::regclass AND p.oid = k.id \
 UNION ALL SELECT 'generated column', quote_ident(a.attname), a.attrelid::regclass::text, \
 concat(format_type(a.atttypid, a.atttypmod), ' GENERATED ALWAYS AS (', pg_get_expr(e.adbin, e.adrelid), ') STORED'), \
 k.depth, NULL FROM known k JOIN pg_attrdef e ON k.class = 'pg_attrdef'::regclass AND e.oid = k.id JOIN pg_attribute a \
 ON a.attrelid = e.adrelid AND a.attnum = e.adnum AND a.attgenerated <> '' WHERE $2::text[] IS NOT NULL AND NOT \
 a.attname = ANY ($2::text[]) \
 UNION ALL SELECT 'function', p.oid::regprocedure::text, NULL, CASE WHEN p.prokind <> 'a' THEN \
 pg_get_functiondef(p.oid) END, k.depth, NULL FROM known k JOIN pg_proc p ON k.class = 'pg_proc'::regclass AND p.oid = \
 k.id \
 UNION ALL SELECT CASE WHEN c.relispartition THEN 'partition' ELSE 'child table' END, c.oid::regclass::text, i.inhparent::regclass::text, NULL, k.depth, NULL FROM known k \
 JOIN pg_class c ON k.class = 'pg_class'::regclass AND c.oid = k.id JOIN pg_inherits i ON i.inhrelid = c.oid AND \
 i.inhparent = $1 WHERE NOT c.relkind IN ('i', 'I') \
 UNION ALL SELECT 'other', pg_describe_object(k.class, k.id, k.sub), NULL, NULL, k.depth, NULL FROM known k LEFT JOIN \
 pg_class c ON k.class = 'pg_class'::regclass AND c.oid = k.id WHERE k.class NOT IN ('pg_rewrite'::regclass, \
 'pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_proc'::regclass, \
 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass) AND (k.class <> 'pg_class'::regclass OR c.relkind IN \
 ('r', 'p', 'f', 'c') AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = $1)) \
 ORDER BY 5, 1, 2";

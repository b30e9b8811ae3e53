//! What hangs on a relation of the destination: one question to the catalog, whose answers are values of `merge`, which makes
//! statements of them.

use super::{Connection, DestinationError};
use crate::merge::belongings::{Belonging, Belongings};
use crate::merge::dialect::Dialect;
use crate::merge::names::TargetName;

/// What hangs on a table; nothing if there is no such table.
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

pub(super) async fn oid(
    connection: &mut Connection,
    target: &TargetName,
) -> Result<Option<u32>, DestinationError> {
    let during = || DestinationError::during(format!("looking for {target}"));
    let statement = connection.prepared(OID).await.map_err(during())?;
    let row = connection.query_opt(&statement, &[&target.schema, &target.table]).await.map_err(during())?;
    Ok(row.map(|row| row.get(0)))
}

pub(super) async fn of_relation(
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

//! Statements in the binlog: QUERY events with the few session settings that matter for parsing them, and the xid of
//! XA_PREPARE events. The statement's text stays bytes: its character set is the client's.

use super::cursor::Cursor;
use super::format::{DecodeError, FormatContext};
use std::borrow::Cow;
use std::fmt;
use tributary_source::charset::{Charset, charset_of_collation};

/// A QUERY event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The session's current database; empty for none.
    pub database: &'a str,
    /// As the client wrote it, in the client's character set.
    pub statement: &'a [u8],
    /// The error that the statement ended with on the source; 0 for none.
    pub error_code: u16,
    /// Id of `character_set_client`'s default collation, if logged.
    pub client_collation: Option<u16>,
    /// `explicit_defaults_for_timestamp`, if logged.
    pub explicit_timestamps: Option<bool>,
    /// `sql_mode`, as bits (MySQL's sql_class.h: 0x4 ANSI_QUOTES, 0x100000 NO_BACKSLASH_ESCAPES), if logged.
    pub sql_mode: Option<u64>,
}

impl<'a> Query<'a> {
    /// The statement in UTF-8, and whether that is what the client wrote: false if its character set is not known
    /// here, or the bytes are not of it.
    #[must_use]
    pub fn text(&self) -> (Cow<'a, str>, bool) {
        let charset = self.client_collation.and_then(|id| charset_of_collation(u32::from(id)));
        let utf8 = charset.is_none_or(|name| name.starts_with("utf8"));
        if utf8 || self.statement.is_ascii() {
            let text = String::from_utf8_lossy(self.statement);
            let faithful = matches!(text, Cow::Borrowed(_));
            return (text, faithful);
        }
        let mut decoded = Vec::new();
        let known = charset.and_then(Charset::named).and_then(|set| set.decode(self.statement, &mut decoded));
        match known.and_then(|()| String::from_utf8(decoded).ok()) {
            Some(text) => (Cow::Owned(text), true),
            None => (String::from_utf8_lossy(self.statement), false),
        }
    }
}

/// Parses the data of a QUERY event, or of an EXECUTE_LOAD_QUERY event, whose fixed part is longer.
pub(super) fn parse_query<'a>(
    kind: u8,
    data: &'a [u8],
    context: &FormatContext,
) -> Result<Query<'a>, DecodeError> {
    let malformed = |what| DecodeError::malformed(kind, what);
    let mut cursor = Cursor::new(data);
    let (database, error_code, variables) = (|| {
        cursor.take(8)?; // thread id and execution time
        let database_length = usize::from(cursor.u8()?);
        let error_code = cursor.u16()?;
        let variables_length = usize::from(cursor.u16()?);
        // A later version may have a longer fixed part.
        cursor.take(usize::from(context.post_header_length(kind)).saturating_sub(13))?;
        let variables = cursor.take(variables_length)?;
        let database = cursor.take(database_length)?;
        (cursor.u8()? == 0).then_some((database, error_code, variables))
    })()
    .ok_or(malformed("fixed part"))?;
    let mut query = Query {
        database: std::str::from_utf8(database).map_err(|_| malformed("database name"))?,
        statement: cursor.rest(),
        error_code,
        client_collation: None,
        explicit_timestamps: None,
        sql_mode: None,
    };
    // The settings are helpful but not needed, and newer servers add kinds whose length is unknown here.
    let _ = read_variables(&mut query, &mut Cursor::new(variables));
    Ok(query)
}

/// Reads status variables up to the first one of a kind not known here.
fn read_variables(query: &mut Query<'_>, cursor: &mut Cursor<'_>) -> Option<()> {
    loop {
        match cursor.u8()? {
            1 => query.sql_mode = Some(cursor.u64()?),
            4 => {
                query.client_collation = Some(cursor.u16()?);
                cursor.take(4)?;
            }
            0 | 3 | 10 => drop(cursor.take(4)?),
            2 => {
                let length = usize::from(cursor.u8()?);
                cursor.take(length + 1)?;
            }
            5 | 6 => {
                let length = usize::from(cursor.u8()?);
                cursor.take(length)?;
            }
            7 | 8 | 18 => drop(cursor.take(2)?),
            9 | 17 => drop(cursor.take(8)?),
            11 => {
                for _ in 0..2 {
                    let length = usize::from(cursor.u8()?);
                    cursor.take(length)?;
                }
            }
            12 => {
                let count = cursor.u8()?;
                // 254 stands for too many databases to name.
                for _ in 0..if count == 254 { 0 } else { count } {
                    cursor.zero_terminated()?;
                }
            }
            13 => drop(cursor.take(3)?),
            16 => query.explicit_timestamps = Some(cursor.u8()? != 0),
            19 | 20 => drop(cursor.take(1)?),
            _ => return None,
        }
    }
}

/// Id of an XA transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    /// Format id; 1 if none was given.
    pub format: u32,
    /// Global transaction id, up to 64 bytes.
    pub gtrid: Vec<u8>,
    /// Branch qualifier, up to 64 bytes.
    pub bqual: Vec<u8>,
}

impl fmt::Display for Xid {
    /// As the server writes it in the XA statements of the binlog: `X'6162',X'',1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.gtrid, &self.bqual] {
            f.write_str("X'")?;
            for byte in part {
                write!(f, "{byte:02x}")?;
            }
            f.write_str("',")?;
        }
        write!(f, "{}", self.format)
    }
}

/// XA_PREPARE: one-phase flag, format id, two lengths, then both parts.
pub(super) fn parse_xa_prepare(cursor: &mut Cursor<'_>) -> Option<(Xid, bool)> {
    let one_phase = cursor.u8()? != 0;
    let format = cursor.u32()?;
    let global_length = usize::try_from(cursor.u32()?).ok().filter(|length| *length <= 64)?;
    let branch_length = usize::try_from(cursor.u32()?).ok().filter(|length| *length <= 64)?;
    let gtrid = cursor.take(global_length)?.to_vec();
    let bqual = cursor.take(branch_length)?.to_vec();
    Some((Xid { format, gtrid, bqual }, one_phase))
}

#[cfg(test)]
mod tests {
    use super::super::format::kind;
    use super::*;

    #[test]
    fn a_query_with_status_variables() {
        let mut data = vec![7, 0, 0, 0, 1, 0, 0, 0, 4, 0x2a, 0x04];
        let mut variables = vec![0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 6, 3, b's', b't', b'd'];
        variables.extend([4, 45, 0, 45, 0, 255, 0, 16, 0, 12, 2, b'a', 0, b'b', 0, 99, 1, 2]);
        data.extend(u16::try_from(variables.len()).unwrap().to_le_bytes());
        data.extend(&variables);
        data.extend(b"shop\0DROP TABLE x");
        let query = parse_query(kind::QUERY, &data, &FormatContext::default()).unwrap();
        assert_eq!(query.database, "shop");
        assert_eq!(query.statement, b"DROP TABLE x");
        assert_eq!(query.error_code, 1066);
        assert_eq!(query.client_collation, Some(45));
        assert_eq!((query.sql_mode, query.explicit_timestamps), (Some(4), Some(false)));
        for end in 0..data.len() - b"DROP TABLE x".len() {
            assert!(parse_query(kind::QUERY, &data[..end], &FormatContext::default()).is_err(), "{end}");
        }
    }

    #[test]
    fn a_statement_is_read_in_the_clients_character_set() {
        let query = |statement, client_collation| Query {
            database: "shop",
            statement,
            error_code: 0,
            client_collation,
            explicit_timestamps: None,
            sql_mode: None,
        };
        // latin1_swedish_ci, gbk_chinese_ci (a trail byte that looks like a backslash), utf8mb4_general_ci, none.
        for (bytes, collation, text, faithful) in [
            (&b"DEFAULT 'caf\xe9'"[..], Some(8), "DEFAULT 'café'", true),
            (b"DEFAULT '\x85\x5c'", Some(28), "DEFAULT '匼'", true),
            ("DEFAULT 'é'".as_bytes(), Some(45), "DEFAULT 'é'", true),
            ("DEFAULT 'é'".as_bytes(), None, "DEFAULT 'é'", true),
            (b"DEFAULT '\xe9'", Some(45), "DEFAULT '\u{fffd}'", false),
            // swe7 is not known.
            (b"DEFAULT '\xe9'", Some(10), "DEFAULT '\u{fffd}'", false),
        ] {
            let (found, is) = query(bytes, collation).text();
            assert_eq!((found.as_ref(), is), (text, faithful), "{collation:?}");
        }
    }

    #[test]
    fn an_xid_prints_as_in_the_binlog() {
        let data = [&[1, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0][..], b"glb"].concat();
        let (xid, one_phase) = parse_xa_prepare(&mut Cursor::new(&data)).unwrap();
        assert!(one_phase);
        assert_eq!(xid.to_string(), "X'676c',X'62',1");
        assert_eq!(parse_xa_prepare(&mut Cursor::new(&data[..15])), None);
    }
}

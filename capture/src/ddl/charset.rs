//! What a charset or collation that a statement names, or leaves out, comes to.

use super::catalog::Session;

/// The charset of a collation: the name up to the first underscore.
pub(super) fn charset_of(collation: &str) -> &str {
    collation.split_once('_').map_or(collation, |(charset, _)| charset)
}

/// `utf8` and `utf8mb3` are one charset under the name that the server's version prints.
pub(super) fn canonical(name: &str, session: &Session) -> String {
    let (charset, rest) = name.split_at(charset_of(name).len());
    if matches!(charset, "utf8" | "utf8mb3") {
        format!("{}{rest}", session.utf8_name)
    } else {
        name.to_owned()
    }
}

/// The collation that a charset has if none is named; `None` for a charset that is not known here.
pub(super) fn default_collation(charset: &str, session: &Session) -> Option<String> {
    let suffix = match charset {
        "utf8mb4" => return Some(session.utf8mb4_collation.clone()),
        "binary" => return Some("binary".to_owned()),
        "big5" | "gb2312" | "gbk" | "gb18030" => "chinese_ci",
        "dec8" | "latin1" | "swe7" => "swedish_ci",
        "hp8" => "english_ci",
        "ujis" | "sjis" | "cp932" | "eucjpms" => "japanese_ci",
        "euckr" => "korean_ci",
        "tis620" => "thai_ci",
        "latin5" => "turkish_ci",
        "armscii8" | "ascii" | "cp1250" | "cp1251" | "cp1256" | "cp1257" | "cp850" | "cp852" | "cp866"
        | "geostd8" | "greek" | "hebrew" | "keybcs2" | "koi8r" | "koi8u" | "latin2" | "latin7" | "macce"
        | "macroman" | "ucs2" | "utf16" | "utf16le" | "utf32" | "utf8" | "utf8mb3" => "general_ci",
        _ => return None,
    };
    Some(format!("{}_{suffix}", canonical(charset, session)))
}

/// The collation that charset and collation, either of which may be missing, name together.
pub(super) fn named_collation(
    charset: Option<&str>,
    collation: Option<&str>,
    otherwise: &str,
    session: &Session,
) -> Result<String, String> {
    match (charset, collation) {
        (_, Some(collation)) => Ok(canonical(collation, session)),
        (Some(charset), None) => default_collation(charset, session)
            .ok_or_else(|| format!("the charset {charset} is not one known here")),
        (None, None) => Ok(otherwise.to_owned()),
    }
}

/// Most bytes a character takes.
pub(super) fn max_bytes(charset: &str) -> u64 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8" | "utf8mb3" | "ujis" | "eucjpms" => 3,
        "big5" | "gbk" | "gb2312" | "sjis" | "cp932" | "euckr" | "ucs2" => 2,
        _ => 1,
    }
}

//! Every character of every character set.

use super::{check, database, published, rows, run};
use tributary_source::charset::{Charset, charset_of_collation};

#[tokio::test]
async fn every_character_set_as_a_select_converts_it() {
    let name = "tributary_binlog_charsets";
    let mut connection = database(name).await;
    run(
        &mut connection,
        &[
            "SET SESSION cte_max_recursion_depth = 70000, group_concat_max_len = 100000",
            "CREATE TABLE characters (id int PRIMARY KEY, c varchar(512) CHARACTER SET utf8mb4)",
            "INSERT INTO characters WITH RECURSIVE n(i) AS (SELECT 32 UNION ALL SELECT i + 1 FROM n WHERE i < 65535)
             SELECT i DIV 128, GROUP_CONCAT(CONVERT(CHAR(i USING utf32) USING utf8mb4) ORDER BY i SEPARATOR '') FROM n
             WHERE i NOT BETWEEN 0xD800 AND 0xDFFF GROUP BY i DIV 128",
            "INSERT INTO characters VALUES (1000, '😀𠀋💩')",
        ],
    )
    .await;
    let charsets: Vec<(String, u32)> =
        rows(&mut connection, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
            .await;
    assert!(charsets.len() > 30);
    for (charset, max_bytes) in charsets {
        let Some(known) = Charset::named(&charset) else {
            assert!(matches!(charset.as_str(), "swe7" | "binary"), "{charset} is not known");
            continue;
        };
        assert_eq!(known.max_bytes, max_bytes, "{charset}");
        run(&mut connection, &[&format!("CREATE TABLE t_{charset} (id int PRIMARY KEY, c varchar(512), x text) CHARACTER SET {charset}")])
            .await;
        let table = published(&mut connection, name, &format!("t_{charset}"), &[]).await;
        let mut statements = vec![format!("INSERT IGNORE INTO t_{charset} SELECT id, c, c FROM characters")];
        if max_bytes == 1 && charset != "ascii" {
            // Also the bytes that stand for no character.
            statements.push(format!(
                "INSERT INTO t_{charset} WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 255)
                 SELECT 2000 + i, CHAR(i USING {charset}), CHAR(i, i USING {charset}) FROM n"
            ));
        }
        check(&mut connection, &[table], &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

/// Halves of surrogate pairs, which these character sets store like any character: no row is lost for them, and a row that
/// is read has the value that the stream has.
#[tokio::test]
async fn half_a_surrogate_pair_beside_the_key_is_the_same_question_mark_both_ways() {
    let name = "tributary_binlog_surrogates";
    let mut connection = database(name).await;
    run(
        &mut connection,
        &["CREATE TABLE t (id int PRIMARY KEY, u varchar(9) CHARACTER SET ucs2, x text CHARACTER SET ucs2, \
           c char(5) CHARACTER SET ucs2, w varchar(9) CHARACTER SET utf32)"],
    )
    .await;
    let table = published(&mut connection, name, "t", &[]).await;
    let ucs2 = |digits: &str| format!("_ucs2 X'{digits}'");
    let mut statements = Vec::new();
    for (id, digits) in (1..).zip(["D83D", "DE00", "0061D83D0062", "D83DDE00", "DE00D83D", "DFFFD800"]) {
        let text = ucs2(digits);
        statements.push(format!("INSERT INTO t VALUES ({id}, {text}, {text}, {text}, NULL)"));
    }
    // No literal of utf32 has such; an assignment does.
    statements.push("UPDATE t SET w = u".to_owned());
    statements.push("UPDATE t SET u = 'plain' WHERE id = 2".to_owned());
    check(&mut connection, &[table], &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// A key must come back from its text, or be refused: every code of one to three bytes, as the server takes it there and
/// back.
#[tokio::test]
async fn what_comes_back_from_unicode_is_what_the_server_gives_back() {
    let mut connection = database("tributary_binlog_round_trips").await;
    run(&mut connection, &["SET SESSION cte_max_recursion_depth = 70000"]).await;
    let sets: Vec<(String, u32)> =
        rows(&mut connection, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
            .await;
    for (name, max_bytes) in sets {
        let Some(charset) = Charset::named(&name).filter(|_| !name.starts_with("utf") && name != "ucs2")
        else {
            continue;
        };
        let mut asked = vec![("", 2, 0, if max_bytes == 1 { 0xff } else { 0x7f })];
        asked.extend((max_bytes > 1).then_some(("", 4, 0x8100, 0xffff)));
        asked.extend((max_bytes == 3).then_some(("8F", 4, 0x8100, 0xffff)));
        for (front, digits, from, through) in asked {
            let code = format!("UNHEX(CONCAT('{front}', LPAD(HEX(i), {digits}, '0')))");
            let codes: Vec<(String, Option<String>)> = rows(
                &mut connection,
                &format!(
                    "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {through})
                     SELECT HEX({code}), HEX(CONVERT(CONVERT(CONVERT({code} USING {name}) USING utf8mb4) USING {name}))
                     FROM n WHERE CHAR_LENGTH(CONVERT({code} USING {name})) = 1"
                ),
            )
            .await;
            assert!(codes.len() > 100, "{name}: {}", codes.len());
            for (code, back) in codes {
                let digits: Vec<u8> = code
                    .bytes()
                    .map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap())
                    .collect();
                let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                let mut text = Vec::new();
                // What is malformed is refused as such.
                let comes_back =
                    charset.decode(&bytes, &mut text).is_some() && charset.comes_back(&bytes, &text);
                let expected = back.as_deref() == Some(code.as_str());
                assert_eq!(comes_back, expected, "{name} {code} {back:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_collation_is_of_the_character_set_that_the_server_says() {
    let mut connection = database("tributary_binlog_collations").await;
    let collations: Vec<(u32, String)> =
        rows(&mut connection, "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS").await;
    for (id, charset) in collations {
        assert_eq!(charset_of_collation(id), Some(charset.as_str()), "collation {id}");
    }
}

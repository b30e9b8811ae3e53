//! How constants are printed, and which are certain.

use super::super::mode::SqlMode;
use super::super::token::tokenize;
use super::*;

fn resolved(column_type: &str, text: &str) -> ResolvedDefault {
    let mode = SqlMode::new(Some(0));
    let tokens = tokenize(text, mode);
    let mut cursor = Cursor::new(text, &tokens, mode);
    DefaultClause::read(&mut cursor).unwrap().resolve(&column_type.parse().unwrap())
}

#[test]
fn constants_are_printed_as_information_schema_prints_them() {
    for (column_type, text, printed) in [
        ("int", "'7'", "7"),
        ("int", "-  1", "-1"),
        ("int", "007", "7"),
        ("int", "TRUE", "1"),
        ("int", "0x10", "16"),
        ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
        ("decimal(10,2)", "1.005", "1.01"),
        ("decimal(10,2)", "-.5", "-0.50"),
        ("decimal(10,0)", "'2'", "2"),
        ("double", "1.50", "1.5"),
        ("float", "1e3", "1000"),
        ("varchar(9)", "'it''s'", "it's"),
        ("varchar(9)", "1.50", "1.50"),
        ("bit(8)", "b'0101'", "b'101'"),
        ("bit(8)", "5", "b'101'"),
        ("varbinary(4)", "'a'", "0x61"),
        ("binary(3)", "'a'", "0x61"),
        ("enum('a','B')", "'b'", "B"),
        ("set('a','b')", "'b,a'", "a,b"),
        ("date", "'2020-01-31'", "2020-01-31"),
        ("date", "DATE '2020-01-31'", "2020-01-31"),
        ("datetime(3)", "'2020-01-31 01:02:03.5'", "2020-01-31 01:02:03.500"),
        ("datetime", "'2020-01-31'", "2020-01-31 00:00:00"),
        ("timestamp", "0", "0000-00-00 00:00:00"),
        ("time(1)", "'-838:59:59'", "-838:59:59.0"),
        ("year", "2020", "2020"),
    ] {
        let constant = ColumnDefault::Constant(printed.to_owned());
        assert_eq!(resolved(column_type, text).default, Some(constant), "{column_type} DEFAULT {text}");
    }
    assert_eq!(resolved("int", "NULL"), ResolvedDefault { default: None, doubtful: false });
}

#[test]
fn what_cannot_be_told_is_doubted() {
    for (column_type, text) in [
        ("int", "'x'"),
        ("int", "1.5"),
        ("timestamp", "'2020-01-31 00:00:00'"),
        ("date", "'20-1-1'"),
        ("datetime", "'2020-01-31 00:00:00.5'"),
        ("float", "1234567.8"),
        ("enum('a')", "'b'"),
    ] {
        let found = resolved(column_type, text);
        assert!(found.doubtful && found.default.is_none(), "{column_type} DEFAULT {text}");
    }
}

#[test]
fn only_what_is_the_same_in_every_session_is_certain() {
    for (column_type, text) in [
        ("varchar(9)", r"'a\_b'"),
        ("varchar(9)", r"'a\0b'"),
        ("varchar(9)", "'é'"),
        ("varchar(9)", "_latin1'e'"),
        ("varchar(9)", "N'e'"),
        ("varchar(9)", "007"),
        ("varchar(9)", "5."),
        ("varchar(9)", "-0"),
        ("varchar(9)", "00.50"),
        ("varchar(9)", "1.50"),
        ("varchar(9)", "0x41"),
        ("varbinary(9)", "'e'"),
        ("float", "1.5"),
        ("double", "1.23456"),
        ("decimal(8,3)", "1.0005"),
        ("bit(8)", "5"),
        ("int", "b'11'"),
        ("enum('A')", "'a'"),
    ] {
        assert!(resolved(column_type, text).doubtful, "{column_type} DEFAULT {text}");
    }
    for (column_type, text) in [
        ("varchar(9)", "'it''s'"),
        ("varchar(9)", "\"x\""),
        ("varchar(9)", "-12"),
        ("int", "007"),
        ("bigint", "'5'"),
        ("decimal(8,3)", "1.5"),
        ("float", "0"),
        ("date", "'2020-01-31'"),
        ("year", "2020"),
        ("enum('a')", "'a'"),
        ("set('a','b')", "'b,a'"),
        ("timestamp", "NULL"),
    ] {
        assert!(!resolved(column_type, text).doubtful, "{column_type} DEFAULT {text}");
    }
}

#[test]
fn expressions_are_kept_apart() {
    for (text, printed) in [
        ("now(6)", "CURRENT_TIMESTAMP(6)"),
        ("CURRENT_TIMESTAMP()", "CURRENT_TIMESTAMP"),
        ("(uuid())", "uuid()"),
    ] {
        let expression = Some(ColumnDefault::Expression(printed.to_owned()));
        assert_eq!(resolved("datetime(6)", text).default, expression);
    }
}

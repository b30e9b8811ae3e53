//! Each remedy of the product is followed to the letter on real servers and ends with equal rows, here or in another
//! test, or it is said why it cannot be: one list, complete against the tables of remedies (`remedies.rs` of apply and of
//! capture).

mod apply;
mod capture;
pub mod words;

use super::remedies::literals;
use std::collections::BTreeSet;
use tributary_tests::servers::root;

/// Where a remedy is followed.
enum Followed {
    /// In a test of this module, on a table of this name.
    Here(&'static str),
    /// In another test: its function.
    In(&'static str),
    /// Nowhere, for this reason.
    Not(&'static str),
}
use Followed::{Here, In, Not};

const APPLY: &[(&str, Followed)] = &[
    ("read_anew", Here("raised")),
    ("differences_to_merge", Here("cut")),
    ("differences_to_clear", Here("checked")),
    ("repeated_rows", Here("outside")),
    ("existing_data", Here("existing")),
    ("foreign_record", Here("strange")),
    ("offset_out_of_range", In("an_offset_past_the_end_of_one_partition_is_noticed")),
    ("retention_exceeded", Here("forgotten")),
    ("topic_gone", In("a_topic_that_was_deleted_or_has_more_partitions_costs_one_read_of_its_table")),
    ("bookkeeping_incomplete", Here("offsetless")),
    ("topic_recreated", In("a_purged_position_is_refused_with_the_way_out")),
    ("partitions_changed", In("a_topic_that_was_deleted_or_has_more_partitions_costs_one_read_of_its_table")),
    ("rule_conflict", Not("capture's check refuses such a configuration before (item table-rules)")),
    ("target_name", Here("named")),
    ("staging_defect", Not("a defect: there is nothing to do")),
    ("staging_dropped", Not("somebody drops tables in a loop, in the moment after they are made")),
    ("unknown_generation", Here("generationless")),
    ("undefined_table", Not("capture writes a definition before it selects the table")),
    ("newer_bookkeeping", Not("there is no newer version; refused in what_a_newer_version_wrote_is_refused")),
    ("excluded_by_capture", Here("keyless")),
    ("deselected", In("a_table_that_was_deselected_is_read_anew_when_it_returns")),
    ("target_shared", Here("second")),
    ("part_from_task", In("what_another_task_feeds_is_neither_emptied_nor_taken_over")),
    ("part_from_unreadable", Not("only says how to see more")),
    ("not_alone_to_empty", Here("appended")),
    ("not_alone_to_narrow", In("a_column_of_others_is_neither_dropped_nor_renamed")),
    ("not_alone_to_take_over", In("what_another_task_feeds_is_neither_emptied_nor_taken_over")),
    (
        "target_dependents",
        In("views_that_a_change_stumbles_over_are_named_with_what_to_run_and_the_table_goes_on"),
    ),
    ("target_key", In("a_key_that_is_dropped_during_the_load_stops_the_table")),
    ("unlogged", Here("unlogged")),
    ("unlogged_partition", Here("below")),
    ("foreign_partition", Here("outside")),
    ("rewriting_rule", Here("ruled")),
    ("row_security", Here("secured")),
    ("target_definition", Here("dropped")),
    ("restless", Not("somebody alters the table in a loop")),
    ("target_kind", Here("viewed")),
    ("cannot_be_given", In("what_cannot_be_given_back_surely_keeps_the_target_as_it_is")),
    ("target_changed", Here("moved")),
    ("target_gone", Here("gone")),
    (
        "unsupported_ddl",
        Not(
            "what capture makes an ALTER can be carried out: whatever_capture_makes_an_alter_can_be_carried_out",
        ),
    ),
    (
        "destination_error",
        Not("the connection's settings: wrong_arguments_configuration_and_passwords_have_their_statuses"),
    ),
    ("sqlstate 40", In("a_session_in_the_way_of_one_table_ends_neither_the_process_nor_the_others")),
    ("sqlstate 55", Not("55P03 and 55006 alone are of this class and about other sessions")),
    ("sqlstate 55P03", In("a_session_in_the_way_of_one_table_ends_neither_the_process_nor_the_others")),
    ("sqlstate 55006", In("a_session_in_the_way_of_one_table_ends_neither_the_process_nor_the_others")),
    ("sqlstate 22", Here("divided")),
    ("sqlstate 23", Here("checked")),
    (
        "sqlstate 3F",
        Not("a schema that was dropped took its targets along: target-gone, followed on the table gone"),
    ),
    ("sqlstate 54", Here("indexed")),
    ("sqlstate P0", Here("raised")),
    ("sqlstate 42", Not("whatever else is wrong with a target's definition")),
    ("sqlstate 42501", In("what_was_parked_goes_on_by_itself_once_a_person_has_mended_it")),
    ("sqlstate 42P01", Here("called")),
    ("sqlstate 42883", Here("called")),
    ("sqlstate 42703", Here("pointed")),
    ("sqlstate 42939", Here("reserved")),
];

const CAPTURE: &[(&str, Followed)] = &[
    ("catalog_disagrees", Not("read anew by itself; parked only if the server contradicts itself twice")),
    ("row_image", Here("image")),
    ("bad_key", Here("zerokey")),
    ("lossy_key", Here("surrogate")),
    (
        "binlog_filters",
        In("a_restart_of_the_source_empties_its_memory_tables_and_its_filters_are_looked_at_anew"),
    ),
    ("replica_updates", Not("the tests have no replica; refused in capture::pipeline::completeness")),
    ("bad_row", Not("no server is known that logs a row which is not valid for its definition")),
    ("row_too_large", Here("large")),
    ("table_not_replicable", Here("keyless")),
    ("table_not_replicable_strictly", Here("keyless")),
    (
        "definition_too_large",
        In("a_definition_that_does_not_fit_its_topic_costs_its_table_and_a_long_statement_nothing"),
    ),
    ("table_renamed", Here("renamed")),
    ("table_unreadable", Not("the message is the server's; the restart is that of every other code")),
    ("re_read", Not("nothing to do")),
    ("of_an_end", Here("image")),
    ("stream_broken", Not("the steps are those of position_lost")),
    ("position_lost", In("a_purged_position_is_refused_with_the_way_out")),
    ("state_lost", Not("the steps are those of position_lost")),
    ("own_topic_gone", Not("the steps are those of position_lost")),
];

/// The functions of a table of remedies, and the classes and codes that its function `sqlstate` knows.
fn remedies(service: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(service).join("src/remedies.rs")).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let functions = text.lines().filter_map(|line| {
        line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub const fn "))?.split('(').next()
    });
    let mut found: BTreeSet<String> = functions.map(str::to_owned).collect();
    if found.remove("sqlstate") {
        let body = text.split("pub fn sqlstate").nth(1).unwrap();
        let states = literals(body).into_iter().filter(|literal| {
            matches!(literal.len(), 2 | 5)
                && literal.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
        });
        found.extend(states.map(|state| format!("sqlstate {state}")));
    }
    found
}

/// Every source text of a test.
fn tests() -> String {
    let folders =
        ["tests/tests/real", "tests/tests/faults", "apply/tests/pipeline", "apply/src/merge/changes"];
    let mut all = String::new();
    let mut folders: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    all
}

#[test]
fn every_remedy_is_followed_somewhere_or_it_is_said_why_not() {
    let tests = tests();
    for (service, list) in [("apply", APPLY), ("capture", CAPTURE)] {
        let listed: BTreeSet<String> = list.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed.len(), list.len(), "a remedy is listed twice");
        assert_eq!(listed, remedies(service), "{service}: this list and the table of remedies differ");
        for (name, followed) in list {
            match followed {
                Here(table) => {
                    let known = apply::tables().contains(table) || capture::TABLES.contains(table);
                    assert!(known, "{name}: there is no table {table}");
                }
                In(function) => {
                    assert!(
                        tests.contains(&format!("fn {function}(")),
                        "{name}: there is no test {function}"
                    );
                }
                Not(why) => assert!(!why.is_empty()),
            }
        }
    }
}

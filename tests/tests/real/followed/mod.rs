//! Each remedy of the product is followed to the letter on real servers and ends with equal rows, here or in another
//! test, or it is said why it cannot be: one list, complete against the tables of remedies (`remedies.rs` of apply, of
//! the two crates that speak for it, and of capture).

mod apply;
mod capture;
pub(crate) mod words;

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
    ("anew", Here("forgotten")),
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
    ("constant_value", In("what_does_not_go_into_one_target_is_told_with_the_way_out")),
    ("rule_changed", In("topics_that_cannot_be_told_apart_are_parked")),
    ("union_type", In("what_does_not_go_into_one_target_is_told_with_the_way_out")),
    ("union_key", In("what_does_not_go_into_one_target_is_told_with_the_way_out")),
    ("union_layout", In("what_does_not_go_into_one_target_is_told_with_the_way_out")),
    ("strays", In("what_does_not_go_into_one_target_is_told_with_the_way_out")),
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
    ("destination_away", Not("the message is the server's, and says what is away")),
    ("kafka_refuses", Not("ACLs: the tests' Kafka has none; the list is that of `check --print-grants`")),
    ("kafka_away", Not("the message is the brokers', and says what is away")),
    ("bookkeeping_unreadable", Not("the message is the server's, and says what is gone")),
    ("task_forgotten", In("rows_that_are_removed_from_the_bookkeeping_are_noticed_and_come_back")),
    ("history_gone", Not("the steps are those that capture names: own_topic_gone")),
    ("thread_gone", Not("a defect: there is nothing to do")),
    ("history_unread", Not("says where to look")),
    ("topics_gone", In("a_topic_that_is_gone_is_named_by_apply_until_capture_has_made_another")),
    ("kafka_unusable", Not("the settings of the connection")),
    ("destination_unusable", Not("the settings of the connection")),
    (
        "another_destination",
        In("a_second_destination_under_a_tasks_name_is_refused_and_the_first_has_every_row"),
    ),
    ("failed_items", Not("the remedies are the items', and are followed where the items are tried")),
    ("in_use", Not("the command says no until it is followed")),
    ("unlike_version", Not("there is one version only")),
    ("no_such_table", Not("a usage error")),
    ("nothing_to_compare", Not("a usage error")),
    ("never_run", Not("the first step of every test")),
    ("source_unknown", In("a_source_that_is_not_known_is_asked_for")),
    ("definition_is_changing", Not("another run of the same command")),
    ("state_missing", Not("the first step of every test")),
    ("target_missing", Here("gone")),
    ("unpublishable_row", Not("says where to look")),
    ("unwritable_row", Not("says where to look")),
    ("too_many_changes", Not("a larger value of a setting")),
    ("restless_keys", Not("another run of the same command")),
    ("key_without_condition", Not("a defect: there is nothing to do")),
    ("stalled", In("a_lag_that_does_not_pass_is_told_from_a_difference")),
    ("parked_at_the_end", In("a_topic_of_the_task_itself_that_was_deleted_while_nobody_ran_has_a_way_out")),
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
    ("replica_updates", Not("the tests have no replica; refused in capture::check::completeness")),
    ("bad_row", Not("no server is known that logs a row which is not valid for its definition")),
    ("row_too_large", Here("large")),
    ("topic_refuses", Here("refused")),
    ("own_topic_refuses", Not("a record of ten thousand tables; the steps are those of row_too_large")),
    ("table_not_replicable", Here("keyless")),
    ("table_not_replicable_strictly", Here("keyless")),
    (
        "definition_too_large",
        In("a_definition_that_does_not_fit_its_topic_costs_its_table_and_a_long_statement_nothing"),
    ),
    ("table_renamed", Here("renamed")),
    ("table_unreadable", Not("the message is the server's; the restart is that of every other code")),
    ("re_read", Not("nothing to do")),
    ("parked_at_the_end", In("a_key_whose_text_does_not_come_back_parks_its_table_and_names_it")),
    ("of_an_end", Here("image")),
    ("stream_broken", Not("the steps are those of position_lost")),
    ("position_lost", In("a_purged_position_is_refused_with_the_way_out")),
    ("state_lost", Not("the steps are those of position_lost")),
    ("own_topic_gone", Not("the steps are those of position_lost")),
    ("cannot_go_on", Not("the message is the server's, and says what is wrong")),
    ("another_leads", In("a_leader_that_was_frozen_and_replaced_ends_with_status_4")),
    ("kafka_unusable", Not("the settings of the connection")),
    ("in_use", Not("the command says no until it is followed")),
    ("failed_items", Not("the remedies are the items', and are followed where the items are tried")),
    ("nobody_answers", Not("the settings of the connection")),
    ("unlike_version", Not("there is one version only")),
];

/// The texts of a table of remedies, without tests: what is about the warehouse, and what `verify` finds, is part of apply's.
fn table(service: &str) -> String {
    let crates = if service == "apply" { vec!["apply", "warehouse", "verify"] } else { vec![service] };
    let folders = crates.iter().map(|name| root().join(name).join("src"));
    let files = folders.flat_map(|folder| {
        let parts = std::fs::read_dir(folder.join("remedies")).into_iter().flatten();
        parts.map(|part| part.unwrap().path()).chain([folder.join("remedies.rs")]).collect::<Vec<_>>()
    });
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    texts.map(|text| text.split("#[cfg(test)]").next().unwrap().to_owned()).collect()
}

/// The functions of a table of remedies, and the classes and codes that its function `sqlstate` knows.
fn remedies(service: &str) -> BTreeSet<String> {
    let text = table(service);
    let mut found: BTreeSet<String> = functions(&text).map(|(name, _)| name.to_owned()).collect();
    if found.remove("sqlstate") {
        let body = text.split("fn sqlstate").nth(1).unwrap().split("\n}\n").next().unwrap();
        let states = literals(body).into_iter().filter(|literal| {
            matches!(literal.len(), 2 | 5)
                && literal.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
        });
        found.extend(states.map(|state| format!("sqlstate {state}")));
    }
    found
}

/// Each function, with the first line of what is said of it.
fn functions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut said = "";
    text.lines().filter_map(move |line| {
        let before = std::mem::take(&mut said);
        if let Some(doc) = line.strip_prefix("/// ") {
            said = if before.is_empty() { doc } else { before };
        } else if line.starts_with('#') {
            said = before;
        }
        let signature = line
            .strip_prefix("pub(crate) ")
            .or(line.strip_prefix("pub "))?
            .trim_start_matches("const ")
            .strip_prefix("fn ")?;
        Some((signature.split('(').next()?, before))
    })
}

/// The titles under which the guide explains what a service or a table ends with, and those of what has none: commands print
/// what they end with, `verify` what it finds, and the server has codes of its own.
fn titles() -> BTreeSet<String> {
    let guide = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let sections = guide.lines().filter_map(|line| line.strip_prefix("### ").map(str::to_owned));
    let codes = sections.flat_map(|line| line.split(", ").map(str::to_owned).collect::<Vec<_>>());
    let others = ["a command", "verify", "The server's code", "What to do about an SQLSTATE", "Any of these"];
    codes.chain(others.map(str::to_owned)).collect()
}

/// Every source text of a test.
fn tests() -> String {
    let folders =
        ["tests/tests/real", "tests/tests/faults", "apply/tests/pipeline", "warehouse/src/merge/changes"];
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

#[test]
fn every_remedy_belongs_to_a_section_of_the_guide() {
    let titles = titles();
    for service in ["apply", "capture"] {
        let text = table(service);
        assert!(functions(&text).count() > 20, "{service}");
        for (name, said) in functions(&text) {
            let about = said.split([':', ',']).next().unwrap_or_default();
            for title in about.split(" and ") {
                assert!(
                    titles.contains(title),
                    "{service}: {name} is about {title:?}, which the guide does not explain"
                );
            }
        }
    }
}

//! What a remedy prints, cut out of it as a person would: statements, commands, lines of the configuration.

/// Where a statement of the destination begins.
const BEGINNINGS: [&str; 3] = ["ALTER TABLE ", "TRUNCATE TABLE ", "DROP RULE "];
/// Where it ends.
const ENDS: [&str; 4] = [";", ", and ", ", then ", ", or "];

/// The first statement.
pub(crate) fn statement(remedy: &str) -> String {
    let begin = BEGINNINGS.iter().filter_map(|words| remedy.find(words)).min();
    let rest = &remedy[begin.unwrap_or_else(|| panic!("no statement in: {remedy}"))..];
    let end = ENDS.iter().filter_map(|words| rest.find(words)).min().unwrap_or(rest.len());
    rest[..end].to_owned()
}

/// The commands of `apply` or `capture`, without the program's name.
pub(crate) fn commands(remedy: &str) -> Vec<Vec<&str>> {
    programs(remedy).into_iter().map(|words| words[1..].to_vec()).collect()
}

/// The same with the program's name.
pub(crate) fn programs(remedy: &str) -> Vec<Vec<&str>> {
    let quoted = remedy.split('`').skip(1).step_by(2);
    let words = quoted.map(|text| text.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| matches!(words[..], ["apply" | "capture", _, ..])).collect()
}

/// The line of the configuration that begins with `key`.
pub(crate) fn setting(remedy: &str, key: &str) -> String {
    let begin = remedy.find(key).unwrap_or_else(|| panic!("no {key} in: {remedy}"));
    let rest = &remedy[begin..];
    let end = rest.rfind('}').unwrap_or_else(|| panic!("no end of {key} in: {remedy}"));
    rest[..=end].to_owned()
}

#[test]
fn what_is_printed_is_cut_out_to_the_letter() {
    let remedy = "ALTER TABLE \"s\".\"t\" SET LOGGED, and so each of them; `apply replay --from 0:5 --table s.t`, `target`";
    assert_eq!(statement(remedy), "ALTER TABLE \"s\".\"t\" SET LOGGED");
    assert_eq!(commands(remedy), [["replay", "--from", "0:5", "--table", "s.t"]]);
    assert_eq!(setting("set columns = { a = { b = 1 } } in a", "columns"), "columns = { a = { b = 1 } }");
}

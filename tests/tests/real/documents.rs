//! What the documents say of the code is so.

use std::collections::BTreeSet;
use std::path::Path;
use tributary_tests::servers::root;

/// Every source text below a folder.
fn read(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The names of its tests.
fn tests(text: &str) -> BTreeSet<&str> {
    let marked =
        text.split("#[test]").chain(text.split("#[tokio::test")).chain(text.split("proptest! {")).skip(1);
    let names = marked.flat_map(|rest| rest.split("fn ").skip(1).take(1));
    let in_macros = text.split("        #[test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1));
    names.chain(in_macros).filter_map(|rest| rest.split('(').next()).collect()
}

#[test]
fn each_invariant_names_a_test_that_is_there() {
    let mut code = String::new();
    for folder in [
        "schemas",
        "config",
        "service",
        "source",
        "topics",
        "warehouse",
        "verify",
        "capture",
        "apply",
        "tests",
    ] {
        read(&root().join(folder), &mut code);
    }
    let there = tests(&code);
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let invariants = text.split("\n## Invariants\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut number = 0;
    for line in invariants.lines() {
        let begins = line.split_once(". ").and_then(|(lead, _)| lead.parse::<usize>().ok());
        if let Some(begun) = begins {
            assert_eq!(begun, number + 1, "{line}");
            number = begun;
        }
    }
    let words = invariants.split('`').skip(1).step_by(2);
    let safeguards =
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()) && word.len() > 8);
    for safeguard in safeguards.filter(|word| word.chars().all(char::is_alphanumeric)) {
        assert!(code.contains(&format!("Self::{safeguard}")), "nothing leaves {safeguard} out");
    }
    let tests: Vec<&str> = invariants.lines().filter_map(|line| line.trim().strip_prefix("Test: ")).collect();
    assert_eq!(tests.len(), number, "each invariant has a line of tests");
    for name in tests.iter().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        assert!(there.contains(name), "there is no test {name}");
    }
}

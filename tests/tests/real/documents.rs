//! What the documents say of the code is so.

use std::collections::BTreeSet;
use std::path::Path;
use tributary_tests::servers::root;

/// The names of the functions below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn each_invariant_names_a_test_that_is_there() {
    let mut there = BTreeSet::new();
    for folder in ["schemas", "config", "service", "source", "capture", "apply", "tests"] {
        functions(&root().join(folder), &mut there);
    }
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
    let tests: Vec<&str> = invariants.lines().filter_map(|line| line.trim().strip_prefix("Test: ")).collect();
    assert_eq!(tests.len(), number, "each invariant has a line of tests");
    for name in tests.iter().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        assert!(there.contains(name), "there is no test {name}");
    }
}

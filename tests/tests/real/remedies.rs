//! What a message tells a person to do can be done: every command, option and configuration key that a text of the code
//! names is there, and no key is named that this version refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use tributary_tests::servers::root;

/// Where the texts of the product are. What is said about refused keys themselves is said where they are refused.
const SOURCES: [&str; 9] = [
    "apply/src",
    "capture/src",
    "verify/src",
    "warehouse/src",
    "topics/src",
    "source/src",
    "service/src",
    "schemas/src",
    "config/src",
];
const ABOUT_KEYS: [&str; 3] = ["config/src/check.rs", "service/src/keys.rs", "service/src/keys/print.rs"];
const SECTIONS: [&str; 7] = ["source", "kafka", "registry", "topics", "destination", "capture", "apply"];
/// Keys of which only a value is refused.
const ONLY_A_VALUE: [&str; 3] = ["topics.delivery", "topics.before", "storage"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.contains("test") && !name.starts_with("simulation") {
            found.push(path);
        }
    }
}

/// The string literals of a source text, without its tests, with lines that go on joined as the compiler joins them.
pub(crate) fn literals(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|next| next != '\n') {},
            // A character, or a lifetime, which has no second quote right behind it.
            '\'' => {
                let mut ahead = rest.clone();
                let escaped = ahead.next() == Some('\\');
                if escaped {
                    ahead.next();
                }
                if ahead.next() == Some('\'') {
                    rest = ahead;
                }
            }
            '"' => {
                let mut literal = String::new();
                while let Some(next) = rest.next() {
                    match next {
                        '"' => break,
                        '\\' => match rest.next() {
                            Some('\n') => while rest.next_if(|next| next.is_whitespace()).is_some() {},
                            Some(escaped) => literal.push(escaped),
                            None => break,
                        },
                        other => literal.push(other),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

fn program(name: &str, arguments: &[&str]) -> String {
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let output = Command::new(folder.join(name)).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every key that `config print` shows, as `section.key`, those of a `[[table]]` by their names alone.
fn keys() -> BTreeSet<String> {
    let (mut section, mut keys) = (String::new(), BTreeSet::new());
    for line in program("apply", &["config", "print"]).lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            let key = key.trim();
            let whole = if section.is_empty() || section == "table" {
                key.to_owned()
            } else {
                format!("{section}.{key}")
            };
            keys.insert(whole);
        }
    }
    keys
}

/// The keys that `unsupported` refuses whatever they are set to.
fn refused() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(ABOUT_KEYS[0])).unwrap();
    let body = text.split("fn unsupported").nth(1).unwrap().split("\n}\n").next().unwrap();
    let whole = literals(body).into_iter().filter(|literal| {
        literal.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'))
            && literal != "source"
            && !literal.is_empty()
    });
    whole.filter(|key| !ONLY_A_VALUE.contains(&key.as_str())).collect()
}

/// What is wrong with a text.
fn faults(
    text: &str,
    keys: &BTreeSet<String>,
    refused: &BTreeSet<String>,
    help: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let bare: BTreeSet<&str> = refused.iter().filter_map(|key| key.rsplit('.').next()).collect();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    let words: Vec<&str> = words.map(|word| word.trim_matches('.')).collect();
    for key in &bare {
        // Without its section a key is told from an English word by its underscore, or by what it is set to.
        let is_named = key.contains('_') && words.contains(key);
        let is_set = text.match_indices(&format!("{key} = ")).any(|(place, _)| {
            let before = text.get(..place).unwrap_or_default();
            !before.ends_with(|last: char| last.is_ascii_alphanumeric() || matches!(last, '_' | '.'))
        });
        if is_named || is_set {
            faults.push(format!("{key} is refused"));
        }
    }
    for word in words {
        let Some((section, key)) = word.split_once('.') else { continue };
        let is_key = SECTIONS.contains(&section) && !key.is_empty() && !matches!(key, "rs" | "toml");
        if is_key && !keys.iter().any(|known| known == word || known.starts_with(&format!("{word}."))) {
            faults.push(format!("there is no key {word}"));
        }
        if refused.contains(word) {
            faults.push(format!("{word} is refused"));
        }
    }
    if text.contains("in [capture]") {
        faults.push("which key of [capture]?".to_owned());
    }
    for quoted in text.split('`').skip(1).step_by(2) {
        if refused.contains(quoted) {
            faults.push(format!("{quoted} is refused"));
        }
        let words: Vec<&str> = quoted.split_whitespace().collect();
        let [name @ ("apply" | "capture"), command, options @ ..] = words.as_slice() else { continue };
        let mut usage = |arguments: &[&str]| {
            help.entry(format!("{name} {}", arguments.join(" ")))
                .or_insert_with(|| program(name, arguments))
                .clone()
        };
        if !usage(&["--help"]).lines().any(|line| line.split_whitespace().next() == Some(*command)) {
            faults.push(format!("there is no command `{name} {command}`"));
            continue;
        }
        let of_command = usage(&[command, "--help"]);
        for option in options.iter().filter(|option| option.starts_with("--")) {
            if !of_command.split_whitespace().any(|word| word.trim_end_matches(',') == *option) {
                faults.push(format!("`{name} {command}` has no option {option}"));
            }
        }
    }
    faults
}

#[test]
fn what_a_message_tells_a_person_to_do_can_be_done() {
    let (keys, refused) = (keys(), refused());
    assert!(keys.contains("capture.tables") && keys.contains("existing_data"), "{keys:?}");
    assert!(refused.contains("capture.start_at") && refused.contains("registry.url"), "{refused:?}");
    let mut help = BTreeMap::new();
    let mut wrong = |text: &str| faults(text, &keys, &refused, &mut help);
    // It can fail.
    for text in [
        "set capture.start_at",
        "`apply fly`",
        "`apply replay --fly`",
        "correct `start_at`",
        "raise apply.no_such_key",
        "the start_at must hold it",
        "set start_at = \"x\"",
    ] {
        assert!(!wrong(text).is_empty(), "{text}");
    }
    let mut files = Vec::new();
    SOURCES.iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let (mut texts, mut found) = (0, Vec::new());
    for file in files.iter().filter(|file| !ABOUT_KEYS.iter().any(|about| file.ends_with(about))) {
        let source = std::fs::read_to_string(file).unwrap();
        for literal in literals(&source).into_iter().filter(|literal| literal.contains(' ')) {
            texts += 1;
            found.extend(
                wrong(&literal).into_iter().map(|fault| format!("{}: {fault}: {literal}", file.display())),
            );
        }
    }
    assert!(texts > 500, "only {texts} texts were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What a person is to do stands in the tables of remedies of apply (with warehouse and verify) and capture, where it is read and followed.
#[test]
fn no_remedy_stands_outside_its_table() {
    let mut files = Vec::new();
    for folder in ["apply/src", "capture/src", "verify/src", "warehouse/src", "topics/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut elsewhere = Vec::new();
    for file in &files {
        let source = std::fs::read_to_string(file).unwrap();
        let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
        for (place, call) in source.match_indices(".remedy(") {
            let argument = source.get(place + call.len()..).unwrap_or_default().trim_start();
            if argument.starts_with('"') || argument.starts_with("format!") {
                let text = literals(argument).into_iter().next().unwrap_or_default();
                elsewhere.push(format!("{}: {text}", file.display()));
            }
        }
    }
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
}

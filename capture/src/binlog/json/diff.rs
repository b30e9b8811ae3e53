//! JSON diffs of PARTIAL_UPDATE_ROWS events (`binlog_row_value_options=PARTIAL_JSON`). Enters: the binary JSON of the
//! before image and the diffs. Leaves: the text of the value after. Only the containers on a diff's path are unfolded.

use super::{MAX_DEPTH, Printer, Value, kind};
use crate::binlog::cursor::Cursor;

/// A value in the course of being changed.
enum Node<'a> {
    /// As it was.
    Whole(Value<'a>),
    Object(Vec<(Vec<u8>, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

/// A step of a path.
enum Leg {
    Member(Vec<u8>),
    Cell(usize),
    /// So many cells before the last one: MySQL logs `[last-1]` as it was written.
    CellBeforeLast(usize),
}

impl Leg {
    /// The cell of an array of `length` cells; may be outside of it. `None` for a member, and before the first cell.
    fn cell(&self, length: usize) -> Option<usize> {
        match self {
            Self::Member(_) => None,
            Self::Cell(index) => Some(*index),
            Self::CellBeforeLast(back) => length.checked_sub(1)?.checked_sub(*back),
        }
    }

    /// True if the leg finds a value that is no array, which MySQL takes for the only cell of one.
    const fn finds_single(&self) -> bool {
        matches!(self, Self::Cell(0) | Self::CellBeforeLast(0))
    }
}

/// Appends the text of `before` with `diffs` applied. `None` if either is malformed, or they do not fit.
pub(crate) fn apply_diffs(before: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut root = Node::Whole(Value::parse(before)?);
    let mut cursor = Cursor::new(diffs);
    while !cursor.is_empty() {
        let operation = cursor.u8()?;
        let path = parse_path(cursor.length_encoded_bytes()?)?;
        match operation {
            0 | 1 => {
                let value = Node::Whole(Value::parse(cursor.length_encoded_bytes()?)?);
                if operation == 0 { *root.at(&path)? = value } else { root.insert(&path, value)? }
            }
            2 => root.remove(&path)?,
            _ => return None,
        }
    }
    root.print(&mut Printer::new(before.len().saturating_add(diffs.len()), out), 0)
}

impl<'a> Node<'a> {
    /// Unfolds one level, if this is a container that is not unfolded yet.
    fn unfold(&mut self) -> Option<()> {
        let Self::Whole(value) = self else { return Some(()) };
        let container = value.container()?;
        let indexes = 0..container.count;
        *self = if container.object {
            let member = |index| Some((container.key(index)?.to_vec(), Node::Whole(container.value(index)?)));
            Self::Object(indexes.map(member).collect::<Option<_>>()?)
        } else {
            Self::Array(indexes.map(|index| container.value(index).map(Node::Whole)).collect::<Option<_>>()?)
        };
        Some(())
    }

    /// The value at the end of the path.
    fn at(&mut self, path: &[Leg]) -> Option<&mut Self> {
        let mut node = self;
        for leg in path {
            if leg.finds_single() && !node.is_array() {
                continue;
            }
            node.unfold()?;
            node = match (node, leg) {
                (Self::Object(members), Leg::Member(name)) => {
                    members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)?
                }
                (Self::Array(cells), leg) => {
                    let cell = leg.cell(cells.len())?;
                    cells.get_mut(cell)?
                }
                _ => return None,
            };
        }
        Some(node)
    }

    fn insert(&mut self, path: &[Leg], value: Node<'a>) -> Option<()> {
        let (last, parents) = path.split_last()?;
        let parent = self.at(parents)?;
        parent.unfold()?;
        match (parent, last) {
            (Self::Object(members), Leg::Member(name)) => {
                // MySQL sorts members by the length of their names, then by their bytes.
                let order = |key: &[u8]| (key.len(), key.to_vec());
                let place = members.partition_point(|(key, _)| order(key) < order(name));
                if members.get(place).is_some_and(|(key, _)| key == name) {
                    return None;
                }
                members.insert(place, (name.clone(), value));
            }
            (Self::Array(cells), Leg::Cell(index)) => cells.insert((*index).min(cells.len()), value),
            // Before the first cell there is none: what is put there becomes the first.
            (Self::Array(cells), leg @ Leg::CellBeforeLast(_)) => {
                cells.insert(leg.cell(cells.len()).unwrap_or(0), value);
            }
            _ => return None,
        }
        Some(())
    }

    fn remove(&mut self, path: &[Leg]) -> Option<()> {
        let (last, parents) = path.split_last()?;
        let parent = self.at(parents)?;
        parent.unfold()?;
        match (parent, last) {
            (Self::Object(members), Leg::Member(name)) => {
                let place = members.iter().position(|(key, _)| key == name)?;
                members.remove(place);
            }
            (Self::Array(cells), leg) => {
                let cell = leg.cell(cells.len()).filter(|cell| *cell < cells.len())?;
                cells.remove(cell);
            }
            _ => return None,
        }
        Some(())
    }

    const fn is_array(&self) -> bool {
        match self {
            Self::Whole(value) => matches!(value.kind, kind::SMALL_ARRAY | kind::LARGE_ARRAY),
            Self::Object(_) => false,
            Self::Array(_) => true,
        }
    }

    fn print(&self, printer: &mut Printer<'_>, depth: usize) -> Option<()> {
        match self {
            Self::Whole(value) => return printer.put(*value, depth),
            Self::Object(members) => {
                printer.open(true);
                for (index, (key, value)) in members.iter().enumerate() {
                    printer.separate(index);
                    printer.put_key(key)?;
                    value.print(printer, depth + 1)?;
                }
                printer.close(true);
            }
            Self::Array(cells) => {
                printer.open(false);
                for (index, value) in cells.iter().enumerate() {
                    printer.separate(index);
                    value.print(printer, depth + 1)?;
                }
                printer.close(false);
            }
        }
        Some(())
    }
}

/// A path as MySQL prints it: `$`, then `.name`, `."quoted name"`, `[index]`, `[last]` and `[last-index]`.
fn parse_path(bytes: &[u8]) -> Option<Vec<Leg>> {
    let mut rest = std::str::from_utf8(bytes).ok()?.strip_prefix('$')?;
    let mut legs = Vec::new();
    while !rest.is_empty() && legs.len() <= MAX_DEPTH {
        if let Some(tail) = rest.strip_prefix('[') {
            let (index, tail) = tail.split_once(']')?;
            legs.push(parse_cell(index.trim())?);
            rest = tail;
        } else {
            let tail = rest.strip_prefix('.')?;
            let end = if tail.starts_with('"') {
                closing_quote(tail)? + 1
            } else {
                tail.find(['.', '[']).unwrap_or(tail.len())
            };
            let (name, tail) = tail.split_at_checked(end)?;
            let name = if name.starts_with('"') { serde_json::from_str(name).ok()? } else { name.to_owned() };
            legs.push(Leg::Member(name.into_bytes()));
            rest = tail;
        }
    }
    rest.is_empty().then_some(legs)
}

/// What stands between the brackets of a leg.
fn parse_cell(text: &str) -> Option<Leg> {
    match text.strip_prefix("last") {
        None => Some(Leg::Cell(text.parse().ok()?)),
        Some("") => Some(Leg::CellBeforeLast(0)),
        Some(rest) => {
            Some(Leg::CellBeforeLast(rest.trim_start().strip_prefix('-')?.trim_start().parse().ok()?))
        }
    }
}

/// Where the quote is that ends the string that `text` begins with.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().enumerate().skip(1).find_map(|(index, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes.then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::SMALL;
    use super::*;
    use proptest::prelude::*;

    fn applied(diffs: &[(u8, &str, &[u8])]) -> Option<String> {
        let mut bytes = Vec::new();
        for (operation, path, value) in diffs {
            bytes.push(*operation);
            bytes.push(u8::try_from(path.len()).unwrap());
            bytes.extend(path.as_bytes());
            if *operation < 2 {
                bytes.push(u8::try_from(value.len()).unwrap());
                bytes.extend(*value);
            }
        }
        let mut out = Vec::new();
        apply_diffs(SMALL, &bytes, &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_operation() {
        const NUMBER: &[u8] = &[5, 7, 0];
        for (diffs, expected) in [
            (&[][..], r#"{"a": 1, "bb": [true, "x"]}"#),
            (&[(0, "$.bb[1]", NUMBER)], r#"{"a": 1, "bb": [true, 7]}"#),
            (&[(0, "$", NUMBER)], "7"),
            (&[(1, "$.bb[0]", NUMBER)], r#"{"a": 1, "bb": [7, true, "x"]}"#),
            (&[(1, r#"$."c\"."#, NUMBER), (2, "$.a", &[])], ""),
            (&[(1, r#"$."c\".""#, NUMBER), (2, "$.a", &[])], r#"{"bb": [true, "x"], "c\".": 7}"#),
            (
                &[(1, "$.b", NUMBER), (0, "$.b", SMALL)],
                r#"{"a": 1, "b": {"a": 1, "bb": [true, "x"]}, "bb": [true, "x"]}"#,
            ),
            (&[(2, "$.bb[0]", &[]), (0, "$.bb[0]", NUMBER)], r#"{"a": 1, "bb": [7]}"#),
            (&[(0, "$.bb[last]", NUMBER)], r#"{"a": 1, "bb": [true, 7]}"#),
            (&[(0, "$.bb[last-1]", NUMBER)], r#"{"a": 1, "bb": [7, "x"]}"#),
            (&[(2, "$.bb[last]", &[])], r#"{"a": 1, "bb": [true]}"#),
            (&[(1, "$.bb[last - 1]", NUMBER)], r#"{"a": 1, "bb": [7, true, "x"]}"#),
            (&[(1, "$.bb[last-2]", NUMBER)], r#"{"a": 1, "bb": [7, true, "x"]}"#),
            (&[(0, "$.a[last]", NUMBER)], r#"{"a": 7, "bb": [true, "x"]}"#),
            (&[(0, "$[0].bb[last][0]", NUMBER)], r#"{"a": 1, "bb": [true, 7]}"#),
        ] {
            let expected = Some(expected.to_owned()).filter(|text| !text.is_empty());
            assert_eq!(applied(diffs), expected);
        }
        for bad in [
            (0, "$.x", NUMBER),
            (1, "$.a", NUMBER),
            (2, "$", &[]),
            (2, "$.bb[2]", &[]),
            (2, "$.bb[last-2]", &[]),
            (0, "$.bb[last+1]", NUMBER),
            (0, "$.bb[last1]", NUMBER),
            (0, "$.a[1]", NUMBER),
            (3, "$", &[]),
            (0, "a", NUMBER),
        ] {
            assert_eq!(applied(&[bad]), None, "{}", bad.1);
        }
    }

    proptest! {
        #[test]
        fn any_diffs_are_applied_or_refused(diffs: Vec<u8>) {
            let _ = apply_diffs(SMALL, &diffs, &mut Vec::new());
        }
    }
}

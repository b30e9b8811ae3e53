//! Why a table stops while the others go on: a code that leads to a section of docs/OPERATIONS.md, what happened, and
//! what to do. Never a row's values, except those of a key that has to be found.

use crate::topics::producer::PublishError;
use std::borrow::Cow;
use tributary_schemas::row::RowError;

/// Reads the table anew after the cause is gone: the way out of every gap.
const RESTART: &str = "then restart capture: the table is read anew";

/// The code of a table that is about to be read anew by itself.
pub const REREAD: &str = "re-read";

/// The code of a table whose name stands for nothing any more.
pub const RENAMED: &str = "table-renamed";

/// As much of a message as a parked table's record holds.
pub const MESSAGE_BYTES: usize = 4 * 1024;

/// Why a table is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkReason {
    /// Names a section of docs/OPERATIONS.md.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// The same for the log, which holds no value of a row, not even of a key; `None` if `message` has none.
    pub logged: Option<String>,
    /// What to do.
    pub remedy: String,
}

/// Text of a statement, or of a server, that goes into a record: no more of it than `bytes`, for the record has to fit its
/// topic.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{} … ({} bytes)", text.get(..end).unwrap_or_default(), text.len()))
}

impl ParkReason {
    /// The definition makes a record that the task's own topics do not take.
    #[must_use]
    pub fn definition_too_large(error: &PublishError) -> Self {
        Self {
            code: "definition-too-large",
            message: format!("the table's definition: {error}"),
            logged: None,
            remedy: format!(
                "shorten comments, defaults or lists of labels; or raise topics.max_message_bytes, and max.message.bytes of \
                 the task's history and state topics; {RESTART}"
            ),
        }
    }

    /// What happened, without a value of a row.
    #[must_use]
    pub fn for_the_log(&self) -> &str {
        self.logged.as_deref().unwrap_or(&self.message)
    }

    /// What to do where this has ended the task: a start comes to the same place of the binlog again.
    #[must_use]
    pub fn remedy_of_an_end(&self) -> String {
        format!(
            "set strict = false and start capture, which then leaves this table alone and passes the place; after that: {}",
            self.remedy
        )
    }

    /// The definition is not the one that the rows were written under.
    #[must_use]
    pub fn catalog(difference: &str) -> Self {
        Self {
            code: "catalog-disagrees",
            message: format!(
                "the table's definition is not the one its row events were written under: {difference}"
            ),
            logged: None,
            remedy:
                "restart capture: the definition and the table are read anew; report it if that does not help"
                    .to_owned(),
        }
    }

    /// A row that cannot be encoded. `place` says which, as far as that is known: its key, or the chunk that it is in.
    #[must_use]
    pub fn row(error: &RowError, place: Option<&str>) -> Self {
        let (code, remedy) = match error {
            RowError::PartialImage { .. } => {
                ("row-image", "set binlog_row_image=FULL on the source for all sessions,")
            }
            RowError::BadKey { .. } => ("bad-key", "correct the row on the source,"),
            RowError::LossyKey { .. } => {
                ("bad-key", "correct the row on the source, or convert the column to a binary type,")
            }
            RowError::Truncated { .. } | RowError::Invalid { .. } | RowError::UnexpectedNull { .. } => {
                ("bad-row", "correct the row on the source, or exclude the column,")
            }
        };
        let message = place.map_or_else(|| error.to_string(), |place| format!("the row {place}: {error}"));
        let logged = Some(format!("{}; the status names the row", error.without_values()));
        Self { code, message, logged, remedy: format!("{remedy} {RESTART}") }
    }

    /// A row that the topic does not take.
    #[must_use]
    pub fn too_large(key: &str, error: &PublishError) -> Self {
        Self {
            code: "row-too-large",
            message: format!("the row {key}: {error}"),
            logged: Some(format!("{error}; the status names the row")),
            remedy: format!("raise topics.max_message_bytes and the topic's max.message.bytes, {RESTART}"),
        }
    }

    /// The table cannot be replicated as it is now.
    #[must_use]
    pub fn definition(problem: &str) -> Self {
        Self {
            code: "table-not-replicable",
            message: problem.to_owned(),
            logged: None,
            remedy: format!("change the table or the configuration, {RESTART}"),
        }
    }

    /// The table's name no longer stands for it.
    #[must_use]
    pub fn renamed(to: &str) -> Self {
        Self {
            code: RENAMED,
            message: format!("the table was renamed to {to}"),
            logged: None,
            remedy: "select it under its new name, or rename it back and restart capture".to_owned(),
        }
    }

    /// A chunk's SELECT keeps failing.
    #[must_use]
    pub fn read(why: &str) -> Self {
        Self {
            code: "table-unreadable",
            message: format!("reading the table failed: {why}"),
            logged: None,
            remedy: format!("mend what the message names, {RESTART}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_is_named_as_far_as_it_is_known() {
        let error = RowError::Invalid { column: "c".into(), column_type: "json".into() };
        let reason = ParkReason::row(&error, Some("id=5"));
        assert_eq!(reason.message, "the row id=5: column c holds a value that is not a valid json");
        assert_eq!(ParkReason::row(&error, None).message, error.to_string());
        let lossy =
            RowError::LossyKey { column: "c".into(), charset: "cp1250".into(), bytes: b"secret".to_vec() };
        let too_large = PublishError::TooLarge { bytes: 5, limit: 3 };
        for reason in
            [reason.clone(), ParkReason::row(&lossy, None), ParkReason::too_large("id=5", &too_large)]
        {
            let hidden = ["id=5", "736563726574"].iter().any(|value| reason.message.contains(value));
            let logged = reason.for_the_log();
            assert!(hidden && !logged.contains("id=5") && !logged.contains("736563"), "{logged}");
        }
        // A start comes to the same place: what strict forbids is not recommended without saying so.
        assert!(reason.remedy_of_an_end().starts_with("set strict = false"));
    }
}

//! Why a table stops while the others go on: a code that leads to a section of docs/OPERATIONS.md, what happened, and
//! what to do. Never a row's values, except those of a key that has to be found.

use crate::remedies;
use crate::topics::outbox::TooLarge;
use crate::topics::producer::RefusedRecord;
use std::borrow::Cow;
use tributary_schemas::row::RowError;
use tributary_service::codes::Code;

/// The code of a table that is about to be read anew by itself.
pub(crate) const REREAD: &str = Code::ReRead.name();

/// The code of a table whose name stands for nothing any more.
pub(super) const RENAMED: &str = Code::TableRenamed.name();

/// As much of a message as a parked table's record holds.
pub(super) const MESSAGE_BYTES: usize = 4 * 1024;

/// Why a table is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParkReason {
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
pub(super) fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{} … ({} bytes)", text.get(..end).unwrap_or_default(), text.len()))
}

impl ParkReason {
    fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.name(), message: message.into(), logged: None, remedy: remedy.into() }
    }

    /// The definition makes a record that the task's own topics do not take.
    #[must_use]
    pub(crate) fn definition_too_large(error: &TooLarge) -> Self {
        let message = format!("the table's definition: {error}");
        Self::new(Code::DefinitionTooLarge, message, remedies::definition_too_large())
    }

    /// What happened, without a value of a row.
    #[must_use]
    pub(crate) fn for_the_log(&self) -> &str {
        self.logged.as_deref().unwrap_or(&self.message)
    }

    /// What to do where this has ended the task.
    #[must_use]
    pub(crate) fn remedy_of_an_end(&self) -> String {
        remedies::of_an_end(&self.remedy)
    }

    /// The definition is not the one that the rows were written under.
    #[must_use]
    pub(crate) fn catalog(difference: &str) -> Self {
        let message =
            format!("the table's definition is not the one its row events were written under: {difference}");
        Self::new(Code::CatalogDisagrees, message, remedies::catalog_disagrees())
    }

    /// A row that cannot be encoded. `place` says which, as far as that is known: its key, or the chunk that it is in.
    #[must_use]
    pub(crate) fn row(error: &RowError, place: Option<&str>) -> Self {
        let (code, remedy) = match error {
            RowError::PartialImage { .. } => (Code::RowImage, remedies::row_image()),
            RowError::BadKey { .. } => (Code::BadKey, remedies::bad_key()),
            RowError::LossyKey { .. } => (Code::BadKey, remedies::lossy_key()),
            RowError::Truncated { .. } | RowError::Invalid { .. } | RowError::UnexpectedNull { .. } => {
                (Code::BadRow, remedies::bad_row())
            }
        };
        let message = place.map_or_else(|| error.to_string(), |place| format!("the row {place}: {error}"));
        let logged = Some(format!("{}; the status names the row", error.without_values()));
        Self { logged, ..Self::new(code, message, remedy) }
    }

    /// A row that the topic does not take.
    #[must_use]
    pub(crate) fn too_large(key: &str, error: &TooLarge) -> Self {
        let logged = Some(format!("{error}; the status names the row"));
        let message = format!("the row {key}: {error}");
        Self { logged, ..Self::new(Code::RowTooLarge, message, remedies::row_too_large()) }
    }

    /// The topic takes no record of a kind that the table has.
    #[must_use]
    pub(crate) fn topic_refuses(refused: &RefusedRecord) -> Self {
        Self::new(Code::TopicRefuses, refused.to_string(), remedies::topic_refuses())
    }

    /// The table cannot be replicated as it is now.
    #[must_use]
    pub(crate) fn definition(problem: &str) -> Self {
        Self::new(Code::TableNotReplicable, problem, remedies::table_not_replicable())
    }

    /// The table's name no longer stands for it.
    #[must_use]
    pub(crate) fn renamed(to: &str) -> Self {
        Self::new(Code::TableRenamed, format!("the table was renamed to {to}"), remedies::table_renamed())
    }

    /// The table's name no longer stands for it, and nothing says since when.
    #[must_use]
    pub(crate) fn absent() -> Self {
        let message = "the table was to be read anew, and the source has none of this name";
        Self::new(Code::TableRenamed, message, remedies::table_renamed())
    }

    /// A chunk's SELECT keeps failing.
    #[must_use]
    pub(crate) fn read(why: &str) -> Self {
        Self::new(
            Code::TableUnreadable,
            format!("reading the table failed: {why}"),
            remedies::table_unreadable(),
        )
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
        let too_large = TooLarge { bytes: 5, limit: 3 };
        for reason in
            [reason.clone(), ParkReason::row(&lossy, None), ParkReason::too_large("id=5", &too_large)]
        {
            let hidden = ["id=5", "736563726574"].iter().any(|value| reason.message.contains(value));
            let logged = reason.for_the_log();
            assert!(hidden && !logged.contains("id=5") && !logged.contains("736563"), "{logged}");
        }
    }
}

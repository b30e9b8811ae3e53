//! Updates: pairs of images, of which the second may hold JSON columns as diffs against the first
//! (PARTIAL_UPDATE_ROWS, the server's rows_event.h). The rare path; it may allocate.

use super::values::length_prefixed;
use super::{Fault, Operation, RowDecoder, Step, Wanted, Width, put_branch, skip, take};
use crate::binlog::cursor::Cursor;
use crate::binlog::json;
use crate::binlog::rows::{Bitmap, RowsEvent, RowsKind};
use tributary_schemas::row::{EncodedRow, RowError};

/// `value_options`: some JSON columns hold diffs, and a bitmap of the JSON columns says which.
const PARTIAL_JSON: u64 = 1;

impl RowDecoder {
    /// Encodes the pair of images at the front of `images`: of the first only the key, into `before`; all of the
    /// second, into `after`. Moves `images` behind them.
    ///
    /// # Errors
    /// [`RowError`]; `before`, `after` and `images` are then of no use.
    pub fn encode_update(
        &self,
        event: &RowsEvent<'_>,
        images: &mut &[u8],
        before: &mut EncodedRow,
        after: &mut EncodedRow,
    ) -> Result<(), RowError> {
        let first = *images;
        self.run(Wanted::Key, images, event.present, &[], before)?;
        if event.kind != RowsKind::PartialUpdate {
            return self.run(Wanted::Row, images, event.after_present, &[], after);
        }
        let mut cursor = Cursor::new(images);
        let truncated = || self.error(0, Fault::Truncated);
        let options = cursor.length_encoded().ok_or_else(truncated)?;
        if options & PARTIAL_JSON == 0 {
            *images = cursor.rest();
            return self.run(Wanted::Row, images, event.after_present, &[], after);
        }
        let json_columns = self.steps.iter().filter(|step| step.is_json).count();
        let partial = Bitmap(cursor.take(json_columns.div_ceil(8)).ok_or_else(truncated)?);
        let diffed = self.diffed(first, partial)?;
        *images = cursor.rest();
        self.run(Wanted::Row, images, event.after_present, &diffed, after)
    }

    /// By step, the value in the first image that a diff in the second is against.
    fn diffed<'a>(&self, first: &'a [u8], partial: Bitmap<'_>) -> Result<Vec<Option<&'a [u8]>>, RowError> {
        let mut cursor = Cursor::new(first);
        let nulls = cursor.take(self.steps.len().div_ceil(8)).map(Bitmap);
        let nulls = nulls.ok_or_else(|| self.error(0, Fault::Truncated))?;
        let mut json_index = 0;
        let mut found = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            let fail = |fault| self.error(index, fault);
            let value =
                if nulls.get(index) { None } else { Some(take(step.width, &mut cursor).map_err(fail)?) };
            let is_diff = step.is_json && partial.get(json_index);
            json_index += usize::from(step.is_json);
            // The bits of columns that are NULL after the update have no meaning, so that none need be refused here:
            // a diff against NULL fails when it is applied to an empty value.
            found.push(if is_diff { Some(value.unwrap_or_default()) } else { None });
        }
        Ok(found)
    }
}

/// Appends a JSON value that is in the image as diffs against `before`.
pub(super) fn put_diffed(
    step: Step,
    before: &[u8],
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    const DIFFS: Width = Width::Prefixed(4);
    if !matches!(step.operation, Operation::Json) {
        return skip(DIFFS, cursor);
    }
    let diffs = take(DIFFS, cursor)?;
    put_branch(step, out);
    length_prefixed(out, |out| json::apply_diffs(before, diffs, out))
}

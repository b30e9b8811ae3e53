//! Which kinds of change a table takes (`operations` in the config), and how the kind of a record is told without
//! reading its row.

use thiserror::Error;
use tributary_config::AllowedOperation;
use tributary_schemas::envelope::Operation;

/// The changes of rows that a destination table takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations {
    /// Creates, and rows read from the table: without it, rows that are not there are not inserted.
    pub insert: bool,
    /// Updates: without it, rows that are there are not changed.
    pub update: bool,
    /// Deletes, and the tombstones behind them: without it, nothing is deleted.
    pub delete: bool,
}

impl Default for Operations {
    fn default() -> Self {
        Self::ALL
    }
}

impl Operations {
    /// Everything: the destination mirrors the source.
    pub const ALL: Self = Self { insert: true, update: true, delete: true };

    /// As the config lists them.
    #[must_use]
    pub(crate) fn of(listed: &[AllowedOperation]) -> Self {
        let has = |operation| listed.contains(&operation);
        Self {
            insert: has(AllowedOperation::Insert),
            update: has(AllowedOperation::Update),
            delete: has(AllowedOperation::Delete),
        }
    }

    /// True if no record has to be left out.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.insert && self.update && self.delete
    }

    /// The privileges on a table that its role needs for them. SELECT is needed for all; UPDATE also where rows are only
    /// inserted, because a merge into a table without a unique index, or of a cluster, locks it first, and the server allows
    /// that (`IN EXCLUSIVE MODE`) only to those who may change rows.
    #[must_use]
    pub fn privileges(self) -> Vec<&'static str> {
        let locks = self.update || !self.delete;
        let wanted = [("SELECT", true), ("INSERT", self.insert), ("UPDATE", locks), ("DELETE", self.delete)];
        wanted.into_iter().filter(|(_, needs)| *needs).map(|(privilege, _)| privilege).collect()
    }

    /// True if records of this kind are taken. A tombstone is a [`Operation::Delete`].
    #[must_use]
    pub const fn admits(self, operation: Operation) -> bool {
        match operation {
            Operation::Create | Operation::Read => self.insert,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }
}

/// A datum whose end is not the end of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the value does not end as an envelope does (op, ts_ms): it was not written by capture; replay the table after \
     removing the foreign record, or exclude the table"
)]
pub struct NotAnEnvelope;

/// The kind of change of an envelope datum (without the wire header), read from its end in constant time: behind
/// `source` stand `op`, a string of one letter, and `ts_ms`, a union of null and long, and nothing else. The two
/// forms of the end cannot be mistaken for each other, for no letter equals a union's branch number.
pub fn envelope_operation(datum: &[u8]) -> Result<Operation, NotAnEnvelope> {
    tail_operation(datum).ok_or(NotAnEnvelope)
}

fn tail_operation(datum: &[u8]) -> Option<Operation> {
    // `ts_ms` is null: length 1, letter, branch 0.
    if let [.., 0x02, letter, 0x00] = datum
        && let Some(operation) = Operation::from_letter(&[*letter])
    {
        return Some(operation);
    }
    // `ts_ms` is a long of one to ten bytes, of which all but the last have the high bit set.
    let (last, mut head) = datum.split_last()?;
    if *last >= 0x80 {
        return None;
    }
    for _ in 0..9 {
        match head {
            [rest @ .., byte] if *byte >= 0x80 => head = rest,
            _ => break,
        }
    }
    match head {
        [.., 0x02, letter, 0x02] => Operation::from_letter(&[*letter]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_schemas::avro::{NULL_BRANCH, put_bytes};
    use tributary_schemas::envelope::put_tail;

    const KINDS: [Operation; 4] = [Operation::Create, Operation::Update, Operation::Delete, Operation::Read];

    proptest! {
        #[test]
        fn the_kind_is_read_behind_any_content(front: Vec<u8>, ts_ms: i64, kind in 0_usize..4, null: bool) {
            let mut datum = front;
            if null {
                put_bytes(&mut datum, KINDS[kind].letter());
                datum.push(NULL_BRANCH);
            } else {
                put_tail(&mut datum, KINDS[kind], ts_ms);
            }
            prop_assert_eq!(envelope_operation(&datum), Ok(KINDS[kind]));
        }

        #[test]
        fn foreign_bytes_never_panic(datum: Vec<u8>) {
            let _ = envelope_operation(&datum);
        }
    }

    #[test]
    fn foreign_ends_are_refused() {
        for bad in [&b""[..], b"{}", &[0x02, b'x', 0x00], &[0x02, b'c', 0x02, 0x80], &[0xff; 20]] {
            assert_eq!(envelope_operation(bad), Err(NotAnEnvelope));
        }
    }

    #[test]
    fn reads_count_as_inserts() {
        let only_inserts = Operations { insert: true, update: false, delete: false };
        assert_eq!(KINDS.map(|kind| only_inserts.admits(kind)), [true, false, false, true]);
        assert!(Operations::default().is_all() && !only_inserts.is_all());
    }
}

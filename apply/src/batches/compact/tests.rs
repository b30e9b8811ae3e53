use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tributary_schemas::envelope::put_tail;

const ALL: [Operations; 7] = {
    const fn of(bits: u8) -> Operations {
        Operations { insert: bits & 1 != 0, update: bits & 2 != 0, delete: bits & 4 != 0 }
    }
    [of(1), of(2), of(3), of(4), of(5), of(6), of(7)]
};

fn envelope(operation: Operation, text: &[u8]) -> Vec<u8> {
    let mut datum = text.to_vec();
    put_tail(&mut datum, operation, 1_700_000_000_000);
    datum
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One record, applied to a table as the config's `operations` say.
fn apply_one(
    rows: &mut Rows,
    operations: Operations,
    key: &[u8],
    operation: Operation,
    value: Option<Vec<u8>>,
) {
    match value {
        _ if !operations.admits(operation) => {}
        Some(value) if operation != Operation::Delete => {
            let there = rows.contains_key(key);
            if if there { operations.update } else { operations.insert } {
                rows.insert(key.to_vec(), value);
            }
        }
        _ => {
            rows.remove(key);
        }
    }
}

/// What the merge does with a batch, as SQL will do it: deletes first, then the rest.
fn apply_batch(rows: &mut Rows, operations: Operations, batch: &Batch) {
    let is_delete = |survivor: &Survivor<'_>| {
        survivor.value.is_none_or(|value| envelope_operation(value) == Ok(Operation::Delete))
    };
    for survivor in batch.survivors().filter(is_delete) {
        rows.remove(survivor.key);
    }
    for survivor in batch.survivors().filter(|survivor| !is_delete(survivor)) {
        let there = rows.contains_key(survivor.key);
        if if there { operations.update } else { operations.insert } {
            rows.insert(survivor.key.to_vec(), survivor.value.unwrap().to_vec());
        }
    }
}

proptest! {
    /// Whatever operations are taken and however the records fall into batches, the table comes out as if they had
    /// been applied one by one.
    #[test]
    fn batches_equal_one_by_one(
        records in prop::collection::vec((0_u8..6, 0_u8..5, prop::collection::vec(any::<u8>(), 0..40)), 0..120),
        cut in 1_usize..40,
        operations in 0_usize..7,
    ) {
        let operations = ALL[operations];
        let (mut expected, mut actual) = (Rows::new(), Rows::new());
        for key in 0_u8..3 {
            expected.insert(vec![key], vec![]);
            actual.insert(vec![key], vec![]);
        }
        let mut batch = Batch::new(operations);
        for (count, (key, kind, text)) in records.iter().enumerate() {
            let offset = i64::try_from(count).unwrap() * 2;
            let (operation, value) = match kind {
                0 => (Operation::Create, true),
                1 => (Operation::Update, true),
                2 => (Operation::Read, true),
                3 => (Operation::Delete, true),
                _ => (Operation::Delete, false),
            };
            let value = value.then(|| envelope(operation, text));
            batch.push(i32::from(key % 2), offset, &[*key], value.as_deref(), &[]).unwrap();
            apply_one(&mut expected, operations, &[*key], operation, value);
            let last = batch.partitions().iter().find(|span| span.partition == i32::from(key % 2)).unwrap();
            prop_assert_eq!(last.next_offset, offset + 1);
            if (count + 1) % cut == 0 {
                apply_batch(&mut actual, operations, &batch);
                batch.clear();
                prop_assert!(batch.is_empty() && batch.keys() == 0);
            }
        }
        apply_batch(&mut actual, operations, &batch);
        prop_assert_eq!(actual, expected);
    }

    /// Values that shrink, grow, vanish and come back, with and without raw texts, and partitions that go, stay
    /// what was last pushed.
    #[test]
    fn every_key_keeps_its_last_bytes(
        records in prop::collection::vec(
            (any::<u8>(), prop::option::of(prop::collection::vec(any::<u8>(), 0..60)), "[a-z]{0,9}"), 0..300),
        discarded in 0_usize..300,
    ) {
        let (mut batch, mut expected) = (Batch::new(Operations::ALL), BTreeMap::new());
        for (place, (key, value, text)) in records.iter().enumerate() {
            let (key, partition) = (key % 8, i32::from(key % 2));
            let raw = [("day", text.as_bytes())];
            let raw = if text.len() < 5 { &raw[..0] } else { &raw[..] };
            let offset = i64::try_from(place).unwrap();
            batch.push(partition, offset, &[key; 3], value.as_deref(), raw).unwrap();
            let text = value.as_ref().and(raw.first()).map(|_| text.as_bytes());
            expected.insert(key, (value.as_deref(), text));
            if place == discarded {
                batch.discard(&[1]);
                expected.retain(|key, _| key % 2 == 0);
            }
        }
        let survivors = batch.survivors().map(|s| (s.key[0], (s.value, s.raw.get("day"))));
        prop_assert_eq!(survivors.collect::<BTreeMap<_, _>>(), expected);
        prop_assert_eq!(batch.bytes() == 0, batch.keys() == 0);
    }
}

#[test]
fn keys_are_seen_in_order_and_values_keep_their_raw_texts() {
    let mut batch = Batch::new(Operations::ALL);
    batch.push(0, 5, b"a", Some(b"long value"), &[]).unwrap();
    batch.push(1, 1, b"b", Some(b"two"), &[("day", b"0000-00-00")]).unwrap();
    batch.push(0, 9, b"a", Some(b"short"), &[]).unwrap();
    batch.push(1, 2, b"c", None, &[]).unwrap();
    let seen: Vec<_> = batch.survivors().map(|s| (s.key, s.value, s.raw.get("day"))).collect();
    assert_eq!(
        seen,
        [
            (&b"a"[..], Some(&b"short"[..]), None),
            (&b"b"[..], Some(&b"two"[..]), Some(&b"0000-00-00"[..])),
            (&b"c"[..], None, None),
        ]
    );
    assert_eq!((batch.records(), batch.keys()), (4, 3));
    // A later value without raw texts loses those of the earlier one.
    batch.push(1, 3, b"b", Some(b"x"), &[]).unwrap();
    assert!(batch.survivors().all(|survivor| survivor.raw.is_empty()));
}

#[test]
fn a_hot_key_does_not_grow_the_batch() {
    let mut batch = Batch::new(Operations::ALL);
    let (mut most, largest) = (0, 3 * 2500);
    for offset in 0..20_000_i64 {
        // Longer and longer by turns, so that not every value fits where the last one was.
        let value = vec![7_u8; 1000 + usize::try_from(offset % 500).unwrap() * 3];
        batch.push(0, offset, &[u8::try_from(offset % 3).unwrap()], Some(&value), &[]).unwrap();
        most = most.max(batch.bytes());
    }
    assert!(most < 4 * largest, "{most}");
    assert_eq!(batch.keys(), 3);
    let last: Vec<_> = batch.survivors().map(|survivor| survivor.value.unwrap().len()).collect();
    assert_eq!(last, [1000 + 498 * 3, 1000 + 499 * 3, 1000 + 497 * 3]);
}

#[test]
fn offsets_only_grow_and_discarding_frees_the_partition() {
    let mut batch = Batch::new(Operations::ALL);
    batch.push(0, 5, b"a", Some(b"1"), &[]).unwrap();
    batch.push(1, 5, b"b", Some(b"2"), &[]).unwrap();
    let error = batch.push(0, 5, b"a", Some(b"3"), &[]).unwrap_err();
    assert_eq!(error, PushError::OffsetWentBack { partition: 0, offset: 5, next_offset: 6 });
    batch.discard(&[0]);
    assert_eq!(
        batch.survivors().map(|s| (s.key, s.value)).collect::<Vec<_>>(),
        [(&b"b"[..], Some(&b"2"[..]))]
    );
    batch.push(0, 5, b"a", Some(b"3"), &[]).unwrap();
    batch.push(1, 6, b"b", Some(b"4"), &[]).unwrap();
    assert_eq!((batch.keys(), batch.records()), (2, 3));
    assert_eq!(
        batch.partitions(),
        [
            PartitionSpan { partition: 1, first_offset: 5, next_offset: 7, records: 2 },
            PartitionSpan { partition: 0, first_offset: 5, next_offset: 6, records: 1 },
        ]
    );
}

#[test]
fn a_foreign_value_is_refused_only_where_its_kind_matters() {
    assert!(Batch::new(Operations::ALL).push(0, 0, b"a", Some(b"{}"), &[]).is_ok());
    let mut batch = Batch::new(ALL[0]);
    assert!(matches!(batch.push(0, 0, b"a", Some(b"{}"), &[]), Err(PushError::Envelope { offset: 0, .. })));
    assert!(batch.is_empty());
}

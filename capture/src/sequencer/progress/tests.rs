//! Checkpoints of every moment, and what a stream that goes on from them skips.

use super::*;
use proptest::prelude::*;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn start() -> Checkpoint {
    let position = Position { file: "binlog.000001".into(), offset: 4, ..Position::default() };
    Checkpoint {
        format: FORMAT_VERSION,
        position,
        file_created: None,
        source_started: None,
        transaction: 0,
        partials: Vec::new(),
        undecided: Vec::new(),
    }
}

fn gtid(number: u64) -> Option<Gtid> {
    Some(format!("{UUID}:{number}").parse().unwrap())
}

fn id(number: u32) -> TableId {
    TableId::new("shop", format!("t{number}"))
}

fn name(index: TableIndex) -> TableId {
    id(index.number())
}

fn find(id: &TableId) -> Option<TableIndex> {
    Some(TableIndex::of(id.table.strip_prefix('t')?.parse().ok()?))
}

/// Streams transactions from `checkpoint` in the order that `seed` gives, the ones before it left out as the server
/// would, and stops after `rows` rows. A transaction is the table of each of its rows; rows of the table `gone` are
/// not passed at all. Returns what was published, and the checkpoint then.
fn run(
    transactions: &[Vec<usize>],
    (checkpoint, seed): (&Checkpoint, u64),
    rows: usize,
    gone: Option<usize>,
) -> (Vec<(u64, usize, u64)>, Checkpoint) {
    let mut progress = StreamProgress::resume(checkpoint);
    let (mut published, mut passed) = (Vec::new(), 0);
    let mut order: Vec<usize> = (0..transactions.len()).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    for index in order {
        let tables = &transactions[index];
        let id = gtid(index as u64 + 1);
        if checkpoint.position.gtid_set.contains(id.as_ref().unwrap()) {
            continue;
        }
        progress.begin(id, find);
        let mut of_table = BTreeMap::<usize, u64>::new();
        for table in tables {
            if passed == rows {
                return (published, progress.checkpoint(name));
            }
            passed += 1;
            let number = of_table.entry(*table).or_default();
            *number += 1;
            if gone == Some(*table) {
                continue;
            }
            let (_, publish) = progress.row(TableIndex::of(u32::try_from(*table).unwrap()));
            if publish {
                published.push((index as u64 + 1, *table, *number));
            }
        }
        progress.end();
    }
    (published, progress.checkpoint(name))
}

proptest! {
    #[test]
    fn crashes_anywhere_publish_each_row_once(
        transactions in prop::collection::vec(prop::collection::vec(0_usize..3, 0..6), 1..12),
        stops in prop::collection::vec(0_usize..20, 0..8),
        gone in prop::option::of(0_usize..3),
        seed in 0_u64..1000,
    ) {
        let mut checkpoint = start();
        let mut all = Vec::new();
        let when = stops.len() / 2;
        for (crash, rows) in stops.into_iter().enumerate() {
            // Each time another server, which has them in another order.
            let server = (&checkpoint, seed + crash as u64);
            let (published, next) = run(&transactions, server, rows, gone.filter(|_| crash >= when));
            all.extend(published);
            checkpoint = next;
        }
        let (published, last) = run(&transactions, (&checkpoint, seed), usize::MAX, gone);
        all.extend(published);
        let (mut expected, finish) = run(&transactions, (&start(), 0), usize::MAX, None);
        let stays = |(_, table, _): &(u64, usize, u64)| gone != Some(*table);
        all.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(
            all.into_iter().filter(stays).collect::<Vec<_>>(),
            expected.into_iter().filter(stays).collect::<Vec<_>>()
        );
        prop_assert_eq!(last.position, finish.position);
    }
}

#[test]
fn a_transaction_published_in_part_counts_as_reached() {
    let (_, checkpoint) = run(&[vec![0, 0, 0]], (&start(), 0), 2, None);
    assert_eq!(checkpoint.partials[0].tables[0].rows, 2);
    let progress = StreamProgress::resume(&checkpoint);
    assert!(progress.reached().contains(&gtid(1).unwrap()));
}

#[test]
fn offsets_go_on_past_four_gibibytes() {
    let mut progress = StreamProgress::resume(&start());
    progress.advance(u32::MAX - 10);
    progress.advance(0);
    progress.advance(20);
    assert_eq!(progress.offset(), (1 << 32) + 20);
    progress.rotate("binlog.000002".into(), 4);
    assert_eq!((progress.file(), progress.offset()), ("binlog.000002", 4));
}

#[test]
fn an_undecided_prepare_stays_out_of_the_position_until_it_is_decided() {
    let mut progress = StreamProgress::resume(&start());
    progress.begin(gtid(1), find);
    progress.leave_undecided("x", std::iter::empty());
    progress.end();
    progress.begin(gtid(2), find);
    progress.end();
    assert_eq!(progress.position().gtid_set.to_string(), format!("{UUID}:2"));
    progress.decided("x", gtid(1).as_ref());
    assert_eq!(progress.position().gtid_set.to_string(), format!("{UUID}:1-2"));
}

#[test]
fn without_a_gtid_the_place_before_a_prepare_is_kept_until_it_is_decided() {
    let mut progress = StreamProgress::resume(&start());
    progress.begin(None, find);
    progress.advance(100);
    progress.end();
    progress.begin(None, find);
    progress.advance(200);
    progress.leave_undecided("X'61',X'',1", [id(2)].into_iter());
    progress.end();
    let stored = progress.checkpoint(name);
    assert_eq!(stored.position.offset, 200);
    let place = BinlogPlace { file: "binlog.000001".into(), offset: 100 };
    assert_eq!(stored.undecided[0].place, Some(place));
    let mut resumed = StreamProgress::resume(&stored);
    assert!(resumed.is_undecided("X'61',X'',1"));
    resumed.decided("X'61',X'',1", None);
    assert_eq!(resumed.checkpoint(name).undecided, []);
}

#[test]
fn a_prepare_of_tables_that_are_not_selected_keeps_no_place() {
    let mut progress = StreamProgress::resume(&start());
    progress.begin(None, find);
    progress.advance(100);
    progress.leave_undecided("X'61',X'',1", std::iter::empty());
    progress.end();
    let stored = progress.checkpoint(name);
    assert_eq!(stored.undecided[0].place, None);
    let mut resumed = StreamProgress::resume(&stored);
    assert_eq!(resumed.decided("X'61',X'',1", None), Some(Vec::new()), "no table is read anew");
}

#[test]
fn what_a_prepared_transaction_writes_is_known_after_a_restart() {
    let mut progress = StreamProgress::resume(&start());
    progress.begin(gtid(1), find);
    progress.leave_undecided("X'61',X'',1", [id(2)].into_iter());
    progress.end();
    let stored = progress.checkpoint(name);
    assert_eq!(
        (stored.undecided[0].gtid.clone(), stored.undecided[0].tables.clone()),
        (gtid(1).map(|gtid| gtid.to_string()), vec![id(2)])
    );
    let mut resumed = StreamProgress::resume(&stored);
    assert_eq!(resumed.decided("X'62',X'',1", None), None);
    assert_eq!(resumed.decided("X'61',X'',1", None), Some(vec![id(2)]));
    assert_eq!(resumed.checkpoint(name).undecided, []);
}

#[test]
fn the_file_is_told_only_while_all_before_the_offset_is_in_the_set() {
    let told = |progress: &StreamProgress| progress.checkpoint(name).file_created;
    let mut progress = StreamProgress::resume(&start());
    assert_eq!(told(&progress), None, "a place that SHOW BINARY LOG STATUS told");
    progress.rotate("binlog.000001".into(), 4);
    progress.describe(1000);
    assert_eq!(told(&progress), Some(1000));
    progress.begin(gtid(1), find);
    progress.leave_undecided("x", std::iter::empty());
    progress.end();
    assert_eq!(told(&progress), None);
    progress.begin(gtid(2), find);
    progress.end();
    assert_eq!(told(&progress), None, "the offset is behind a transaction that the set lacks");
    progress.decided("x", gtid(1).as_ref());
    assert_eq!(told(&progress), Some(1000));
    let mut resumed = StreamProgress::resume(&progress.checkpoint(name));
    assert_eq!(told(&resumed), Some(1000));
    resumed.set_server("another");
    assert_eq!(told(&resumed), None);
    progress.begin(gtid(3), find);
    assert_eq!(told(&progress), Some(1000));
    progress.rotate("binlog.000002".into(), 4);
    progress.describe(2000);
    assert_eq!(told(&progress), None, "the position is still in the file before");
    progress.end();
    assert_eq!(told(&progress), Some(2000));
    progress.rotate("binlog.000003".into(), 4);
    assert_eq!(told(&progress), None, "not described yet");
}

#[test]
fn a_stream_that_began_at_an_offset_misses_what_never_came() {
    let mut progress = StreamProgress::resume(&Checkpoint { file_created: Some(1000), ..start() });
    for number in 1..=2 {
        progress.begin(gtid(number), find);
        if number == 2 {
            progress.leave_undecided("x", std::iter::empty());
        }
        progress.end();
    }
    let set = |last: u64| format!("{UUID}:1-{last}").parse::<GtidSet>().unwrap();
    assert!(!progress.misses(&GtidSet::default()) && !progress.misses(&set(2)));
    assert!(progress.misses(&set(3)));
    progress.decided("x", gtid(2).as_ref());
    progress.describe(1000);
    assert_eq!(progress.checkpoint(name).file_created, Some(1000));
    progress.forget_file();
    let searched = StreamProgress::resume(&progress.checkpoint(name));
    assert!(!searched.misses(&set(3)));
}

#[test]
fn the_open_transaction_is_reached_but_not_passed() {
    let mut progress = StreamProgress::resume(&start());
    progress.begin(gtid(1), find);
    assert!(progress.position().gtid_set.is_empty());
    assert_eq!(progress.reached().to_string(), format!("{UUID}:1"));
}

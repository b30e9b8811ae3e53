//! The reader against a real server, which `deploy/local/servers` starts if it does not run.

use super::planner::{OrderId, Planner, Work};
use super::reader::{ReadFailure, ReaderLimits, ReaderMessage, ReaderOrder, TableReader, Visibility, run};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tributary_config::SourceConfig;
use tributary_schemas::checkpoint::{KeyRange, KeyValue};
use tributary_schemas::table::TableId;
use tributary_source::catalog::read_table;
use tributary_source::chunk::ChunkSql;
use tributary_source::connect::{SourceConnection, SourceOptions};
use tributary_source::publish::{PRIMARY, Wishes};
use tributary_source::rows::RowEncoder;
use tributary_tests::servers::Servers;

const DEADLINE: Duration = Duration::from_secs(20);
const ROWS: i64 = 20_000;

fn options(user: &str) -> SourceOptions {
    static SERVERS: LazyLock<Servers> = LazyLock::new(|| Servers::of_checkout(&["mysql"]));
    let config: SourceConfig = serde_json::from_value(SERVERS.source(user)).unwrap();
    SourceOptions::new(&config).unwrap()
}

/// A table of [`ROWS`] rows in a database of its own, a reader of it, and root.
struct Scene {
    root: SourceConnection,
    table: Arc<TableReader>,
    orders: mpsc::Sender<ReaderOrder>,
    messages: mpsc::Receiver<(usize, ReaderMessage)>,
    planner: Planner,
}

impl Scene {
    async fn new(database: &str, width: u32, limits: ReaderLimits) -> Self {
        Self::with_room(database, width, limits, 1).await
    }

    /// `room` messages fit between the reader and who takes them.
    async fn with_room(database: &str, width: u32, limits: ReaderLimits, room: usize) -> Self {
        let mut root = options("root").connect().await.unwrap();
        for statement in [
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
            format!("USE {database}"),
            "SET cte_max_recursion_depth = 100000".to_owned(),
            format!("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR({width}) NOT NULL)"),
            format!(
                "INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
                 SELECT i, REPEAT('x', {width}) FROM n"
            ),
        ] {
            root.execute("setting up", &statement).await.unwrap();
        }
        let catalog = read_table(&mut root, &TableId::new(database, "t")).await.unwrap().unwrap();
        let wishes = Wishes::new(|_| true);
        let table = catalog.published(&wishes).unwrap();
        let sql = ChunkSql::new(&table, PRIMARY).unwrap();
        let table = Arc::new(TableReader { sql, encoder: RowEncoder::compile(&table).unwrap() });
        let (orders, receiver) = mpsc::channel(1);
        let (sender, messages) = mpsc::channel(room);
        tokio::spawn(run(3, options("reader"), limits, receiver, sender));
        let mut planner = Planner::new(1 << 20);
        planner.add(0, Planner::begin(1, 0), 200);
        Self { root, table, orders, messages, planner }
    }

    /// Sends an order for `work`. The planner lends only its ids.
    async fn order(&mut self, work: Work, visibility: Visibility) -> OrderId {
        self.order_after(0, work, visibility).await.0
    }

    /// The same after so many silences of the server, with what cancels it.
    async fn order_after(
        &mut self,
        silences: u32,
        work: Work,
        visibility: Visibility,
    ) -> (OrderId, Arc<AtomicBool>) {
        let id = self.planner.next(|_| true).unwrap().id;
        self.planner.returned(id);
        let table = Arc::clone(&self.table);
        let cancelled = Arc::<AtomicBool>::default();
        let order = ReaderOrder { id, table, work, visibility, silences, cancelled: Arc::clone(&cancelled) };
        self.orders.send(order).await.unwrap();
        (id, cancelled)
    }

    async fn next(&mut self) -> ReaderMessage {
        let (reader, message) = tokio::time::timeout(DEADLINE, self.messages.recv()).await.unwrap().unwrap();
        assert_eq!(reader, 3);
        message
    }

    /// All rows of an order, and its last message.
    async fn rows(&mut self) -> (i64, Vec<KeyValue>, ReaderMessage) {
        self.rows_behind(0).await
    }

    /// The same when `rows` have come already.
    async fn rows_behind(&mut self, mut rows: i64) -> (i64, Vec<KeyValue>, ReaderMessage) {
        let mut last = Vec::new();
        loop {
            match self.next().await {
                ReaderMessage::Batch { batch, .. } => {
                    rows += i64::try_from(batch.rows().count()).unwrap();
                    last = batch.last_key().to_vec();
                    assert_eq!(last, [KeyValue::Int(rows)]);
                }
                end => return (rows, last, end),
            }
        }
    }
}

fn anything() -> Visibility {
    Visibility::WaitForGtid(String::new())
}

fn whole() -> KeyRange {
    KeyRange { after: None, through: None }
}

#[tokio::test]
async fn a_chunk_comes_in_batches_and_ends() {
    let mut scene = Scene::new("snapshot_batches", 200, ReaderLimits::default()).await;
    scene.order(Work::FindEnd, Visibility::SharedLock("FOR SHARE")).await;
    let end = scene.next().await;
    assert!(
        matches!(&end, ReaderMessage::End { key: Some(key), .. } if *key == [KeyValue::Int(ROWS)]),
        "{end:?}"
    );
    for (rows, expected) in [(100, Some(vec![KeyValue::Int(100)])), (50_000, None)] {
        scene.order(Work::FindBoundary { range: whole(), rows }, anything()).await;
        let boundary = scene.next().await;
        assert!(matches!(&boundary, ReaderMessage::Boundary { key, .. } if *key == expected), "{boundary:?}");
    }
    for visibility in [anything(), Visibility::SharedLock("FOR SHARE")] {
        scene.order(Work::Read { range: whole() }, visibility).await;
        let (rows, last, end) = scene.rows().await;
        assert_eq!((rows, last), (ROWS, vec![KeyValue::Int(ROWS)]));
        assert!(matches!(end, ReaderMessage::Finished { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn nothing_is_read_before_the_streams_transactions_are_committed() {
    let limits = ReaderLimits { visibility_seconds: 1, ..ReaderLimits::default() };
    let mut scene = Scene::new("snapshot_visibility", 200, limits).await;
    let uuid: String = scene.root.first("uuid", "SELECT UUID()").await.unwrap().unwrap();
    let set = format!("{uuid}:1");
    scene.order(Work::FindEnd, Visibility::WaitForGtid(set.clone())).await;
    let early = scene.next().await;
    assert!(matches!(&early, ReaderMessage::Failed { failure: ReadFailure::Behind, .. }), "{early:?}");
    scene.order(Work::Read { range: whole() }, Visibility::WaitForGtid(set.clone())).await;
    for statement in [
        format!("SET GTID_NEXT = '{set}'"),
        format!("INSERT INTO t VALUES ({}, 'late')", ROWS + 1),
        "SET GTID_NEXT = 'AUTOMATIC'".to_owned(),
    ] {
        scene.root.execute("committing", &statement).await.unwrap();
    }
    let (rows, _, end) = scene.rows().await;
    assert_eq!(rows, ROWS + 1, "{end:?}");
}

#[tokio::test]
async fn a_select_that_nobody_drains_is_ended_and_can_be_resumed() {
    let limits =
        ReaderLimits { undrained: Duration::from_millis(100), batch_bytes: 4096, ..ReaderLimits::default() };
    let mut scene = Scene::new("snapshot_undrained", 2000, limits).await;
    scene.order(Work::Read { range: whole() }, anything()).await;
    // One batch shows that the SELECT runs, the next fills the channel, and the rest is more than the sockets' buffers
    // take: the ALTER gets its lock only once the SELECT is ended.
    let first = scene.next().await;
    let ReaderMessage::Batch { batch, .. } = first else { panic!("{first:?}") };
    let first = i64::try_from(batch.len()).unwrap();
    let alter = scene.root.execute("altering", "ALTER TABLE t ADD COLUMN w INT");
    tokio::time::timeout(DEADLINE, alter).await.unwrap().unwrap();
    let (rows, last, end) = scene.rows_behind(first).await;
    assert!(rows > first && rows < ROWS, "{rows} {end:?}");
    assert!(matches!(&end, ReaderMessage::Failed { failure: ReadFailure::Undrained, .. }), "{end:?}");
    scene
        .order(
            Work::FindBoundary { range: KeyRange { after: Some(last), through: None }, rows: 1 },
            anything(),
        )
        .await;
    let next = scene.next().await;
    let expected = Some(vec![KeyValue::Int(rows + 1)]);
    assert!(matches!(&next, ReaderMessage::Boundary { key, .. } if *key == expected), "{next:?}");
}

#[tokio::test]
async fn a_select_ends_in_time_though_its_rows_are_taken_at_once() {
    let limits = ReaderLimits { undrained: Duration::ZERO, batch_bytes: 4096, ..ReaderLimits::default() };
    let mut scene = Scene::with_room("snapshot_long", 200, limits, 10_000).await;
    scene.order(Work::Read { range: whole() }, anything()).await;
    let (rows, last, end) = scene.rows().await;
    assert!(matches!(&end, ReaderMessage::Failed { failure: ReadFailure::Undrained, .. }), "{rows} {end:?}");
    assert!(rows > 0 && rows < ROWS, "each SELECT brings a batch: {rows}");
    scene.order(Work::Read { range: KeyRange { after: Some(last), through: None } }, anything()).await;
    let first = scene.next().await;
    let ReaderMessage::Batch { batch, .. } = first else { panic!("{first:?}") };
    assert!(matches!(batch.last_key(), [KeyValue::Int(key)] if *key > rows));
}

#[tokio::test]
async fn failures_say_which_kind_they_are_and_the_reader_goes_on() {
    let mut scene = Scene::new("snapshot_failures", 200, ReaderLimits::default()).await;
    scene.order(Work::FindEnd, anything()).await;
    scene.next().await;
    scene.root.execute("altering", "DELETE FROM t WHERE id > 10").await.unwrap();
    scene.root.execute("altering", "UPDATE t SET v = '1'").await.unwrap();
    scene.root.execute("altering", "ALTER TABLE t MODIFY v INT UNSIGNED").await.unwrap();
    scene.order(Work::Read { range: whole() }, anything()).await;
    let failed = scene.next().await;
    assert!(matches!(&failed, ReaderMessage::Failed { failure: ReadFailure::Columns(_), .. }), "{failed:?}");
    scene.root.execute("altering", "ALTER TABLE t DROP COLUMN v").await.unwrap();
    scene.order(Work::Read { range: whole() }, anything()).await;
    let failed = scene.next().await;
    let ReaderMessage::Failed { failure: ReadFailure::Source(error), .. } = failed else {
        panic!("{failed:?}")
    };
    assert!(!error.is_transient(), "{error}");
    scene.root.execute("altering", "ALTER TABLE t ADD COLUMN v VARCHAR(200) NOT NULL").await.unwrap();
    scene.order(Work::Read { range: whole() }, anything()).await;
    let (rows, _, end) = scene.rows().await;
    assert_eq!(rows, 10, "{end:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_asked_again() {
    let limits = ReaderLimits { answer: Duration::from_millis(300), ..ReaderLimits::default() };
    let mut scene = Scene::new("snapshot_silent", 200, limits).await;
    scene.root.execute("locking", "LOCK TABLES t WRITE").await.unwrap();
    for work in [Work::Read { range: whole() }, Work::FindEnd, Work::FindBoundary { range: whole(), rows: 1 }]
    {
        scene.order(work, anything()).await;
        let failed = scene.next().await;
        let ReaderMessage::Failed { failure: ReadFailure::Silent(error), .. } = failed else {
            panic!("{failed:?}")
        };
        assert!(error.is_transient() && error.to_string().contains("said nothing"), "{error}");
    }
    // With the patience that comes of it the rows are read, although they take longer than the first limit.
    scene.order_after(6, Work::Read { range: whole() }, anything()).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < 3 * limits.answer {
        scene.root.execute("asking", "SELECT SLEEP(0.05)").await.unwrap();
        assert!(scene.messages.is_empty(), "it was given up too early");
    }
    scene.root.execute("unlocking", "UNLOCK TABLES").await.unwrap();
    let (rows, _, end) = scene.rows().await;
    assert_eq!(rows, ROWS, "{end:?}");
}

#[tokio::test]
async fn an_order_is_cancelled_while_the_server_says_nothing() {
    let mut scene = Scene::new("snapshot_cancelled", 200, ReaderLimits::default()).await;
    scene.root.execute("locking", "LOCK TABLES t WRITE").await.unwrap();
    let cancelled = scene.order_after(6, Work::Read { range: whole() }, anything()).await.1;
    cancelled.store(true, Ordering::Relaxed);
    let end = scene.next().await;
    assert!(matches!(&end, ReaderMessage::Failed { failure: ReadFailure::Cancelled, .. }), "{end:?}");
    scene.root.execute("unlocking", "UNLOCK TABLES").await.unwrap();
    scene.order(Work::Read { range: whole() }, anything()).await;
    let (rows, _, end) = scene.rows().await;
    assert_eq!(rows, ROWS, "{end:?}");
}

#[test]
fn patience_grows_with_each_silence_up_to_an_hour() {
    let limits = ReaderLimits::default();
    let seconds = |silences| {
        let grown = limits.after_silences(silences);
        (grown.answer.as_secs(), grown.silence.as_secs(), grown.undrained.as_secs())
    };
    assert_eq!(
        [0, 1, 2, 6, 1000].map(seconds),
        [(60, 20, 10), (120, 40, 10), (240, 80, 10), (3840, 1280, 10), (3840, 1280, 10)]
    );
}

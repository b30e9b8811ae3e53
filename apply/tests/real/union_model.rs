//! A target that several tables share, against a model: each table on its own goes through definitions and rows; behind every
//! step the target holds exactly the rows and columns of all of them.

use crate::postgres::{Session, connection, dialect};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use tributary_config::{Constant, ConstantValue, Indexes, Storage};
use tributary_schemas::table::{Column, ColumnDefault, Table, TableId};
use tributary_warehouse::destination::{Connection, catalog};
use tributary_warehouse::merge::ddl::{Creation, DdlError};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::layout::ColumnRule;
use tributary_warehouse::merge::names::{TargetName, quote};
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::sql::clear_target;
use tributary_warehouse::merge::target::TargetShape;
use tributary_warehouse::merge::union::{Followed, columns_of, drop_column, follow, unite};

const SEEDS: u64 = 25;
const STEPS: u32 = 40;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A table on its source: its definition, and its rows by key, each by column.
#[derive(Clone)]
struct Source {
    table: Table,
    rule: ColumnRule,
    rows: BTreeMap<i64, BTreeMap<u32, Option<String>>>,
    next_column: u32,
    joined: bool,
}

impl Source {
    fn new(shard: i64) -> Self {
        let id = Column { nullable: false, ..Column::new(1, "id", "int".parse().unwrap()) };
        let table = Table { id: TableId::new("s", "t"), columns: vec![id], key: vec![1], ..Table::default() };
        let constant = Constant { column: "shard".into(), value: ConstantValue::Integer(shard) };
        let primary_key = Some(vec!["shard".into(), "id".into()]);
        let rule = ColumnRule { constants: vec![constant], primary_key, ..ColumnRule::default() };
        Self { table, rule, rows: BTreeMap::new(), next_column: 2, joined: false }
    }

    fn free_name(&self, random: &mut Rng) -> Option<&'static str> {
        let free: Vec<_> = NAMES.into_iter().filter(|name| self.table.column_named(name).is_none()).collect();
        random.choice(free)
    }

    /// The place of some column that is not the key.
    fn some_column(&self, random: &mut Rng) -> Option<usize> {
        let count = self.table.columns.len();
        (count > 1).then(|| random.usize(1..count))
    }

    /// One ALTER TABLE, of one to three changes.
    fn alter(&mut self, random: &mut Rng) {
        for _ in 0..random.u32(1..=3) {
            match random.u32(0..6) {
                0 | 1 => {
                    if let Some(name) = self.free_name(random) {
                        self.add(name, random);
                    }
                }
                2 => {
                    if let Some(place) = self.some_column(random) {
                        let gone = self.table.columns.remove(place);
                        self.rows.values_mut().for_each(|row| drop(row.remove(&gone.id)));
                        // Another one of its name may come with it.
                        if random.bool() {
                            self.add(&gone.name, random);
                        }
                    }
                }
                3 => {
                    if let (Some(place), Some(name)) = (self.some_column(random), self.free_name(random)) {
                        self.table.columns[place].name = name.to_owned();
                    }
                }
                4 => {
                    if let (Some(one), Some(two)) = (self.some_column(random), self.some_column(random)) {
                        let name = self.table.columns[one].name.clone();
                        self.table.columns[one].name = self.table.columns[two].name.clone();
                        self.table.columns[two].name = name;
                    }
                }
                _ => {
                    if let Some(place) = self.some_column(random) {
                        let column = &mut self.table.columns[place];
                        let wider = match column.column_type.to_string().as_str() {
                            "int" => "bigint",
                            "varchar(5)" => "varchar(20)",
                            _ => continue,
                        };
                        column.column_type = wider.parse().unwrap();
                    }
                }
            }
        }
    }

    fn add(&mut self, name: &str, random: &mut Rng) {
        let declared = *random.choice(&["int", "int", "bigint", "varchar(5)", "varchar(20)"]).unwrap();
        let mut column = Column {
            nullable: random.bool(),
            ..Column::new(self.next_column, name, declared.parse().unwrap())
        };
        self.next_column += 1;
        let implicit = if declared.ends_with("int") { "0" } else { "" };
        let filled = match random.bool() {
            true => {
                column.default = Some(ColumnDefault::Constant("7".into()));
                Some("7")
            }
            false if column.nullable => None,
            false => Some(implicit),
        };
        self.rows.values_mut().for_each(|row| drop(row.insert(column.id, filled.map(str::to_owned))));
        self.table.columns.push(column);
    }

    /// A row for a key, and the statement that writes it as a merge would.
    fn write(&mut self, target: &TargetName, random: &mut Rng) -> String {
        let (key, mut row) = (random.i64(0..6), BTreeMap::new());
        for column in self.table.columns.iter().skip(1) {
            let value = random.u32(0..99_999).to_string();
            row.insert(column.id, (!column.nullable || random.bool()).then_some(value));
        }
        let names: Vec<String> = self.table.columns.iter().map(|column| quote(&column.name)).collect();
        let literal =
            |value: &Option<String>| value.as_ref().map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let values: Vec<String> =
            self.table.columns.iter().skip(1).map(|column| literal(&row[&column.id])).collect();
        self.rows.insert(key, row);
        let condition = Slice::of(&self.rule).condition().unwrap();
        let shard = &self.rule.constants[0].value;
        let values = [vec![key.to_string()], values].concat().join(", ");
        format!(
            "DELETE FROM {target} WHERE {condition} AND id = {key}; \
             INSERT INTO {target} ({}, shard) VALUES ({values}, {shard})",
            names.join(", ")
        )
    }
}

struct World {
    session: Session,
    connection: Connection,
    dialect: Dialect,
    target: TargetName,
    sources: Vec<Source>,
}

impl World {
    async fn shape(&mut self) -> Option<TargetShape> {
        catalog::shape(&mut self.connection, self.dialect, &self.target).await.unwrap()
    }

    /// The columns of those that have joined, but for `besides`.
    fn columns(&self, besides: usize) -> BTreeSet<String> {
        let others =
            self.sources.iter().enumerate().filter(|(place, source)| source.joined && *place != besides);
        others.flat_map(|(_, source)| columns_of(&source.table, &source.rule).unwrap()).collect()
    }

    /// A step of one source; false if the target cannot have both.
    async fn step(&mut self, place: usize, random: &mut Rng) -> bool {
        let before = self.sources[place].clone();
        let mut source = before.clone();
        let statements = if source.joined {
            match random.u32(0..9) {
                0 => {
                    source.rows.clear();
                    Ok(vec![clear_target(&self.target, &Slice::of(&source.rule))])
                }
                1..=3 => {
                    source.alter(random);
                    let shape = self.shape().await.unwrap();
                    let definitions = (&before.table, &source.table);
                    let followed = follow(definitions, &source.rule, &shape, &self.columns(place), false);
                    followed.map(|followed| self.all(followed))
                }
                // Read anew with another definition.
                4 => {
                    source.alter(random);
                    source.rows.clear();
                    let shape = self.shape().await.unwrap();
                    let definitions = (&before.table, &source.table);
                    let followed = follow(definitions, &source.rule, &shape, &self.columns(place), true);
                    followed.map(|followed| {
                        let mut statements = self.all(followed);
                        statements.insert(0, clear_target(&self.target, &Slice::of(&source.rule)));
                        statements
                    })
                }
                _ => Ok(vec![source.write(&self.target, random)]),
            }
        } else {
            source.alter(random);
            source.joined = true;
            self.join(&source).await
        };
        match statements {
            Ok(statements) => {
                self.session.run(&["BEGIN".to_owned(), statements.join("; "), "COMMIT".to_owned()]).await;
                self.sources[place] = source;
                true
            }
            Err(DdlError::UnionType { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Nobody but the sources has written anything.
    fn all(&self, followed: Followed) -> Vec<String> {
        let drop = |column: &String| drop_column(&self.target, column);
        followed.statements.into_iter().chain(followed.orphans.iter().map(drop)).collect()
    }

    async fn join(&mut self, source: &Source) -> Result<Vec<String>, DdlError> {
        match self.shape().await {
            Some(shape) => Ok(unite(&source.table, &source.rule, &shape)?.statements),
            None => {
                let creation = Creation {
                    dialect: self.dialect,
                    table: &source.table,
                    rule: &source.rule,
                    target: &self.target,
                    distributed_by: None,
                    storage: Storage::Heap,
                    indexes: Indexes::None,
                };
                Ok(creation.statements()?.statements)
            }
        }
    }

    /// The target's columns and rows are those of the sources.
    async fn compare(&mut self, told: &str) {
        let Some(shape) = self.shape().await else { return };
        let columns: Vec<String> = shape.columns.iter().map(|column| column.name.clone()).collect();
        let there: BTreeSet<String> = columns.iter().cloned().collect();
        assert_eq!(there, self.columns(usize::MAX), "{told}");
        let mut expected = Vec::new();
        for source in &self.sources {
            let shard = source.rule.constants[0].value.to_string();
            for (key, row) in &source.rows {
                let of_column = |name: &String| match name.as_str() {
                    "id" => Some(key.to_string()),
                    "shard" => Some(shard.clone()),
                    name => source.table.column_named(name).and_then(|column| row[&column.id].clone()),
                };
                expected.push(columns.iter().map(of_column).collect::<Vec<_>>());
            }
        }
        expected.sort();
        assert_eq!(self.session.rows(&columns, &self.target).await, expected, "{told}");
    }
}

#[tokio::test]
async fn a_shared_target_is_the_union_of_its_tables_whatever_they_do() {
    let (mut followed, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let session = Session::new("union").await;
        let target = TargetName::new(&session.schema, "t");
        let sources = (0..3).map(Source::new).collect();
        let mut world =
            World { session, connection: connection().await, dialect: dialect().await, target, sources };
        for step in 0..STEPS {
            let place = random.usize(0..3);
            let done = world.step(place, &mut random).await;
            followed += u32::from(done);
            refused += u32::from(!done);
            world.compare(&format!("seed {seed}, step {step}, source {place}")).await;
        }
        world.session.done().await;
    }
    assert!(followed > 500 && refused > 20, "{followed} steps, {refused} that no target could follow");
}

//! What no comparison of a table with its source sees in a target that several tables share: rows that are none of theirs, and
//! values in columns that a row's own table does not have.

use super::error::VerifyError;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::error::SqlState;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::names::{TargetName, literal, quote, quote_list};
use tributary_warehouse::merge::slice::Slice;

/// Groups of rows that are listed for a target.
const LISTED_MAX: usize = 20;

/// Looks at the rows of one table, while definitions change.
const LOOKS_MAX: u32 = 10;

/// One of the tables of a target.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub topic: String,
    pub target: TargetName,
    pub slice: Slice,
    /// What people call the table.
    pub name: String,
    /// The columns that it is compared by, and what goes into each; `None`: the target does not follow its definition.
    pub written: Option<BTreeMap<String, String>>,
    /// Rows that no source has count as differences.
    pub surplus: bool,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Strays {
    pub rows: u64,
    /// How many rows have which constants; not all of them.
    pub groups: Vec<(u64, Group)>,
}

/// What rows of one group hold in the columns that tell tables apart.
pub(crate) type Group = Vec<(String, Option<String>)>;

impl Strays {
    /// The statement that removes those that are listed.
    #[must_use]
    pub(crate) fn removal(&self, target: &TargetName) -> String {
        let of_group = |(_, group): &(u64, Group)| {
            let equal = group.iter().map(|(column, value)| match value {
                Some(value) => format!("{} = {}", quote(column), literal(value)),
                None => format!("{} IS NULL", quote(column)),
            });
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let groups = self.groups.iter().map(of_group).collect::<Vec<_>>();
        format!("DELETE FROM {target} WHERE {}", groups.join(" OR "))
    }
}

/// Rows of a table that hold values in columns of others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leftovers {
    pub rows: u64,
    /// Columns that the table does not have, and others do.
    pub columns: Vec<String>,
}

/// The tables whose rows hold values that only others should have.
pub(crate) async fn leftovers(
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    members: &[Member],
) -> Result<Vec<(Member, Leftovers)>, VerifyError> {
    let mut found = Vec::new();
    for member in members {
        let (mut before, mut looks) = (None, 0);
        // A definition that changes between a question and the next is asked about again.
        while looks < LOOKS_MAX {
            looks += 1;
            let Some(leftovers) = look((&mut *connection, dialect), bookkeeping, member).await? else {
                continue;
            };
            if leftovers.rows == 0 {
                break;
            }
            if before.as_ref() == Some(&leftovers.columns) {
                found.push((member.clone(), leftovers));
                break;
            }
            before = Some(leftovers.columns);
        }
    }
    Ok(found)
}

/// One look; `None` if the definition was changed in the middle of it. A table that was altered since it was compared has nothing
/// to be said of.
async fn look(
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    member: &Member,
) -> Result<Option<Leftovers>, VerifyError> {
    let nothing = Ok(Some(Leftovers { rows: 0, columns: Vec::new() }));
    let share = bookkeeping.share(connection, &member.topic).await?.unwrap_or_default();
    let written = member.written.as_ref().filter(|written| **written == share.columns);
    let (Some(condition), Some(written)) = (member.slice.condition(), written) else { return nothing };
    let ownership = bookkeeping.ownership(connection, &member.topic, (&member.target, &member.slice)).await?;
    let Some(shape) = catalog::shape(connection, dialect, &member.target).await? else { return nothing };
    let others: BTreeSet<String> =
        ownership.peers.iter().flat_map(|share| share.columns.keys()).cloned().collect();
    let there = shape.columns.into_iter().map(|column| column.name);
    let columns: Vec<String> =
        there.filter(|name| others.contains(name) && !written.contains_key(name)).collect();
    // Rows of before may hold what they like.
    if columns.is_empty() || ownership.foreign_rows == Some(true) {
        return nothing;
    }
    let filled = columns.iter().map(|name| format!("{} IS NOT NULL", quote(name))).collect::<Vec<_>>();
    let sql =
        format!("SELECT count(*) FROM {} WHERE {condition} AND ({})", member.target, filled.join(" OR "));
    match connection.query_one(&sql, &[]).await {
        Ok(row) => Ok(Some(Leftovers { rows: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), columns })),
        // It went with its last table.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => Ok(None),
        Err(error) => {
            let doing = format!("looking for values of others in {}", member.target);
            Err(DestinationError::during(doing)(error).into())
        }
    }
}

/// The targets of `members` that have rows of none of their tables.
pub(crate) async fn strays(
    connection: &mut Connection,
    bookkeeping: &Bookkeeping,
    members: &[Member],
) -> Result<Vec<(TargetName, Strays)>, VerifyError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for member in members.iter().filter(|member| !member.slice.is_whole()) {
        let judged = members.iter().all(|other| other.target != member.target || other.surplus);
        if !judged || !seen.insert(member.target.clone()) {
            continue;
        }
        let mut before = None;
        // A table that has joined since its slices were read is known at the next look.
        loop {
            let Some(condition) = outside(connection, bookkeeping, member).await? else { break };
            let strays = count(connection, member, &condition).await?;
            if strays.rows == 0 {
                break;
            }
            if before.as_ref() == Some(&condition) {
                found.push((member.target.clone(), strays));
                break;
            }
            before = Some(condition);
        }
    }
    Ok(found)
}

/// True of rows that are in no slice; `None` if others write whose rows cannot be told.
async fn outside(
    connection: &mut Connection,
    bookkeeping: &Bookkeeping,
    member: &Member,
) -> Result<Option<String>, VerifyError> {
    let ownership = bookkeeping.ownership(connection, &member.topic, (&member.target, &member.slice)).await?;
    if !ownership.feeders.is_empty() || ownership.foreign_rows == Some(true) {
        return Ok(None);
    }
    let slices = ownership.peers.iter().map(|share| &share.slice).chain([&member.slice]);
    let conditions: BTreeSet<String> = slices.filter_map(Slice::condition).collect();
    let conditions = conditions.iter().map(|condition| format!("({condition}) IS NOT TRUE"));
    Ok(Some(conditions.collect::<Vec<_>>().join(" AND ")))
}

async fn count(connection: &mut Connection, member: &Member, condition: &str) -> Result<Strays, VerifyError> {
    let during =
        || DestinationError::during(format!("looking for rows of {} that are no table's", member.target));
    let names = member.slice.columns();
    let texts = names.iter().map(|name| format!("{}::text", quote(name))).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT count(*), {texts} FROM {} WHERE {condition} GROUP BY {} ORDER BY 1 DESC",
        member.target,
        quote_list(&names)
    );
    let rows = connection.query(&sql, &[]).await.map_err(during())?;
    let mut strays = Strays::default();
    for row in &rows {
        let count = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        strays.rows += count;
        if strays.groups.len() < LISTED_MAX {
            let values = names.iter().enumerate();
            let values = values.map(|(place, name)| ((*name).to_owned(), row.get(place + 1))).collect();
            strays.groups.push((count, values));
        }
    }
    Ok(strays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_what_the_statement_removes() {
        let value = |text: &str| Some(text.to_owned());
        let strays = Strays {
            rows: 3,
            groups: vec![
                (2, vec![("region".to_owned(), value("e'u")), ("shard".to_owned(), value("9"))]),
                (1, vec![("region".to_owned(), None), ("shard".to_owned(), value("1"))]),
            ],
        };
        assert_eq!(
            strays.removal(&TargetName::new("dw", "orders")),
            "DELETE FROM \"dw\".\"orders\" WHERE \"region\" = 'e''u' AND \"shard\" = '9' \
             OR \"region\" IS NULL AND \"shard\" = '1'"
        );
    }
}

//! One row as SQL: columns enter in the order of the table, `(literal, …)` leaves. Which of its four kinds a row is
//! decides what its columns hold.

use fastrand::Rng;

/// What a row is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Smallest,
    Largest,
    /// NULL wherever the table allows it.
    Empty,
    Usual,
}

/// A row that is being written.
pub(super) struct Row<'a> {
    sql: &'a mut String,
    rng: Rng,
    kind: Kind,
    columns: usize,
}

impl<'a> Row<'a> {
    /// Begins the row of `index`.
    pub fn begin(sql: &'a mut String, rng: Rng, index: u64) -> Self {
        let kind = match index {
            0 => Kind::Smallest,
            1 => Kind::Largest,
            2 => Kind::Empty,
            _ => Kind::Usual,
        };
        sql.push('(');
        Self { sql, rng, kind, columns: 0 }
    }

    /// A column that has no edges: a key, or what must agree with another table.
    pub fn fixed(&mut self, write: impl FnOnce(&mut Rng, &mut String)) {
        self.separate();
        write(&mut self.rng, self.sql);
    }

    /// A column with the literals of its type's smallest and largest value.
    pub fn column(&mut self, smallest: &str, largest: &str, usual: impl FnOnce(&mut Rng, &mut String)) {
        self.separate();
        match self.kind {
            Kind::Smallest => self.sql.push_str(smallest),
            Kind::Largest => self.sql.push_str(largest),
            Kind::Empty | Kind::Usual => usual(&mut self.rng, self.sql),
        }
    }

    /// The same, of which one in `one_in` is NULL.
    pub fn nullable(
        &mut self,
        smallest: &str,
        largest: &str,
        one_in: u32,
        usual: impl FnOnce(&mut Rng, &mut String),
    ) {
        let null = self.kind == Kind::Empty || (self.kind == Kind::Usual && self.rng.u32(0..one_in) == 0);
        if null {
            self.separate();
            self.sql.push_str("NULL");
        } else {
            self.column(smallest, largest, usual);
        }
    }

    /// Ends the row.
    pub fn end(self) {
        self.sql.push(')');
    }

    fn separate(&mut self) {
        if self.columns > 0 {
            self.sql.push(',');
        }
        self.columns += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u64) -> String {
        let mut sql = String::new();
        let mut row = Row::begin(&mut sql, Rng::with_seed(1), index);
        row.fixed(|_, sql| sql.push_str("key"));
        row.column("-128", "127", |_, sql| sql.push('5'));
        row.nullable("''", "'zz'", u32::MAX, |_, sql| sql.push_str("'m'"));
        row.end();
        sql
    }

    #[test]
    fn the_first_rows_are_the_edges() {
        assert_eq!(row(0), "(key,-128,'')");
        assert_eq!(row(1), "(key,127,'zz')");
        assert_eq!(row(2), "(key,5,NULL)");
        assert_eq!(row(3), "(key,5,'m')");
    }
}

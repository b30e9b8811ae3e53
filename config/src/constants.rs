//! `constants` of a `[[table]]`: columns of a target that hold one value in every row of a source table. Templates are parsed
//! once, with the rules; a task's and a table's names enter afterwards, values leave. Pure.

use regex::Regex;
use std::fmt;
use thiserror::Error;
use tributary_schemas::table::TableId;

/// What makes the value an integer, at the end of a template.
const INTEGER: &str = ":int";

/// A column of the target, and its value in every row of one source table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// Name in the warehouse, as the configuration spells it.
    pub column: String,
    pub value: ConstantValue,
}

/// The value of a [`Constant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstantValue {
    Text(String),
    /// Of a template that ends in `:int`.
    Integer(i64),
}

impl fmt::Display for ConstantValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
        }
    }
}

/// Why a table has no value for a constant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConstantError {
    /// The name that the pattern is about does not match it, or its first group.
    #[error(
        "the constant {column} = {template:?} takes a part of {name:?}, and its pattern does not match that"
    )]
    NoMatch { column: String, template: String, name: String },
    /// It ends in `:int`.
    #[error("the constant {column} = {template:?} is to be an integer, and comes out as {value:?}")]
    NotInteger { column: String, template: String, value: String },
}

/// A template of a constant that is understood.
#[derive(Debug, Clone)]
pub(super) struct Template {
    column: String,
    text: String,
    parts: Vec<Part>,
    is_integer: bool,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Name(Name),
    /// The first group of the pattern, or all that it matches where it has none.
    Matched(Name, Regex),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy)]
enum Name {
    Task,
    Database,
    Table,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "task" => Some(Self::Task),
            "database" => Some(Self::Database),
            "table" => Some(Self::Table),
            _ => None,
        }
    }

    fn of<'a>(self, task: &'a str, id: &'a TableId) -> &'a str {
        match self {
            Self::Task => task,
            Self::Database => &id.database,
            Self::Table => &id.table,
        }
    }
}

impl Template {
    /// Parses `text`, the value of `column`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn parse(column: &str, text: &str) -> Result<Self, String> {
        let (mut rest, is_integer) = match text.strip_suffix(INTEGER) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let mut parts = Vec::new();
        while let Some((before, placeholder)) = rest.split_once('{') {
            if before.contains('}') {
                return Err(format!("{text:?} has a brace that closes nothing"));
            }
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            let end =
                closing(placeholder).ok_or_else(|| format!("{text:?} has a brace that is not closed"))?;
            let (inside, behind) = (placeholder.get(..end), placeholder.get(end + 1..));
            parts.push(Part::parse(inside.unwrap_or_default()).map_err(|why| format!("{text:?}: {why}"))?);
            rest = behind.unwrap_or_default();
        }
        if rest.contains('}') {
            return Err(format!("{text:?} has a brace that closes nothing"));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { column: column.to_owned(), text: text.to_owned(), parts, is_integer })
    }

    /// The constant in rows of the table `id` of the task `task`.
    ///
    /// # Errors
    /// [`ConstantError`].
    pub(super) fn resolve(&self, task: &str, id: &TableId) -> Result<Constant, ConstantError> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => value += text,
                Part::Name(name) => value += name.of(task, id),
                Part::Matched(name, pattern) => {
                    let name = name.of(task, id);
                    let found =
                        pattern.captures(name).and_then(|found| found.get(1).or_else(|| found.get(0)));
                    value += found.map(|found| found.as_str()).ok_or_else(|| ConstantError::NoMatch {
                        column: self.column.clone(),
                        template: self.text.clone(),
                        name: name.to_owned(),
                    })?;
                }
            }
        }
        let value = if self.is_integer {
            let number = value.parse().map_err(|_| ConstantError::NotInteger {
                column: self.column.clone(),
                template: self.text.clone(),
                value,
            })?;
            ConstantValue::Integer(number)
        } else {
            ConstantValue::Text(value)
        };
        Ok(Constant { column: self.column.clone(), value })
    }
}

impl Part {
    /// What stands between braces.
    fn parse(inside: &str) -> Result<Self, String> {
        let unknown =
            || format!("{{{inside}}} stands for nothing: {{task}}, {{database}} and {{table}} are known");
        match inside.split_once(':') {
            None => Name::parse(inside).map(Self::Name).ok_or_else(unknown),
            Some((name, pattern)) => {
                let name = Name::parse(name).ok_or_else(unknown)?;
                let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
                if pattern.captures_len() > 2 {
                    return Err("the pattern has several groups, and the value is that of one".to_owned());
                }
                Ok(Self::Matched(name, pattern))
            }
        }
    }
}

/// Where the brace closes that is open at the beginning of `text`; a pattern may have braces of its own.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut escaped) = (1_u32, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(
        template: &str,
        task: &str,
        database: &str,
        table: &str,
    ) -> Result<ConstantValue, ConstantError> {
        let template = Template::parse("c", template).unwrap();
        template.resolve(task, &TableId::new(database, table)).map(|constant| constant.value)
    }

    #[test]
    fn a_constant_is_made_of_literals_and_parts_of_names() {
        let text = |text: &str| Ok(ConstantValue::Text(text.to_owned()));
        assert_eq!(value("x", "t", "d", "o"), text("x"));
        assert_eq!(value("{task}/{database}.{table}", "eu", "shop", "o"), text("eu/shop.o"));
        assert_eq!(value("{database:shop_(\\d+)}", "eu", "shop_07", "o"), text("07"));
        assert_eq!(value("{database:shop_(\\d+)}:int", "eu", "shop_07", "o"), Ok(ConstantValue::Integer(7)));
        assert_eq!(
            value("{table:[0-9]{4}$}", "eu", "shop", "orders_2024"),
            text("2024"),
            "all, without a group"
        );
        assert_eq!(value("{table:^a\\}(.)}", "eu", "shop", "a}b"), text("b"));
        assert_eq!(value("5:int", "eu", "shop", "o"), Ok(ConstantValue::Integer(5)));
        assert_eq!(value("{table}", "eu", "shop", "{task}"), text("{task}"), "a name is no template");
    }

    #[test]
    fn what_gives_no_value_is_told() {
        assert!(matches!(value("{database:s_(\\d+)}", "t", "shop", "o"), Err(ConstantError::NoMatch { .. })));
        assert!(matches!(value("{database}:int", "t", "shop", "o"), Err(ConstantError::NotInteger { .. })));
        for bad in
            ["{shop}", "{database", "a}", "{database}}", "{database:(}", "{database:(a)(b)}", "{x:(a)}"]
        {
            assert!(Template::parse("c", bad).is_err(), "{bad}");
        }
    }
}

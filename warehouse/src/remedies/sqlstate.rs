//! What to do about what the destination's server has refused, by its SQLSTATE.

use super::destination_error;
use tributary_service::codes::Code;

/// Another session is in the way.
const BLOCKED: &str = "find the session that stands in the way (pg_locks, pg_stat_activity) and end it; apply tries again by itself";

/// What to do about an SQLSTATE, which came of a function of the destination's or of apply's own statement.
#[must_use]
pub(crate) fn sqlstate(code: &str, in_function: bool) -> &'static str {
    match code.get(..2).unwrap_or_default() {
        "40" => BLOCKED,
        "55" if matches!(code, "55P03" | "55006") => BLOCKED,
        // Values were compared with the column's type before they were sent: what does not fit is computed here.
        "22" => {
            "look for what the target computes by itself (a trigger, a generated column, an index or a check with an \
             expression, a column whose type was changed by hand) and mend it; apply tries again by itself"
        }
        "23" => {
            "remove the constraint from the target, or the row that stands in the way; apply tries again by itself"
        }
        "3F" => {
            "create the schema, or correct the name in the configuration and restart apply; apply tries again by itself"
        }
        "54" => {
            "the row, or its key, is larger than the server allows: drop the index that the message names, or leave the column \
             out with columns.drop and restart apply; apply tries again by itself"
        }
        "P0" => {
            "a trigger or a function of the target's has refused the row: mend or drop it; apply tries again by itself"
        }
        "42" => match code {
            "42501" => {
                "grant what is missing: `apply check --print-grants` lists it; apply tries again by itself"
            }
            "42P01" | "42883" if in_function => {
                "a function that the target's trigger, default or index calls names a table or a function without its \
                 schema, and apply's sessions look in pg_catalog only: ALTER FUNCTION … SET search_path = …; apply tries again \
                 by itself"
            }
            "42703" if in_function => {
                "a function that the target's trigger, default or index calls names a column that is not there: mend the \
                 function; apply tries again by itself"
            }
            "42P01" | "42703" => {
                "build the target anew: `apply replay --from beginning --clear --table T`, with T as database.table on the source; \
                 a column that is only added again is NULL in every row of before"
            }
            "42939" => {
                "names that begin with pg_ or gp_ belong to the server: give the table a `target` in another schema, and \
                 restart apply"
            }
            _ => {
                "look at the target's definition: `apply check` compares it with the source's; apply tries again by itself"
            }
        },
        _ if code == Code::DestinationError.name() => destination_error(),
        _ => "see the server's log; apply tries again by itself",
    }
}

#[cfg(test)]
mod tests {
    use super::super::TRIES_AGAIN;
    use super::*;

    #[test]
    fn what_a_function_does_not_find_is_no_reason_to_build_the_target_anew() {
        for code in ["42P01", "42703"] {
            assert!(sqlstate(code, false).contains("--clear"), "{code}");
        }
        for code in ["42P01", "42703", "42883"] {
            assert!(
                !sqlstate(code, true).contains("--clear") && sqlstate(code, true).ends_with(TRIES_AGAIN),
                "{code}"
            );
        }
        for code in ["42P01", "42883"] {
            assert!(sqlstate(code, true).contains("SET search_path"), "{code}");
        }
        assert_eq!(sqlstate("42501", true), sqlstate("42501", false));
    }
}

//! Who is in the task's consumer group. A member's client id ends with the identity of its destination, which the group
//! protocol shows to everybody who may describe the group; before that comes something that no other member has, also
//! not the one that a new client replaces. Pure but for [`Ends::members`].
//!
//! Invariant: of two destinations that meet in one group one ends, so that no row stays with half of the members; and it
//! is not the one that has always worked.

use super::ends::Ends;
use super::error::TopicError;
use super::reader::REQUEST_TIMEOUT;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tributary_config::{Config, TaskName};
use tributary_schemas::topic::{history_topic, reading_group};
use tributary_service::kafka::{await_leader, group_members, unique_client_id};

/// Stands between a client's own name and the identity.
const SEPARATOR: char = '@';
/// Characters of an identity.
const IDENTITY_LENGTH: usize = 36;

/// The settings of a member of the group that writes into the destination of `identity`.
#[must_use]
pub(crate) fn member_config(client: &ClientConfig, identity: &str) -> ClientConfig {
    let mut config = client.clone();
    config.set("client.id", unique_client_id(client, &format!("{SEPARATOR}{identity}")));
    config
}

/// The identity in a client id; `None` for a member that does not show one: an older version, or another program.
fn identity_of(client_id: &str) -> Option<&str> {
    let (_, identity) = client_id.rsplit_once(SEPARATOR)?;
    (identity.len() == IDENTITY_LENGTH).then_some(identity)
}

/// Destinations other than `identity` that members with these client ids write into.
#[must_use]
pub fn strangers<'a>(client_ids: &'a [String], identity: &str) -> BTreeSet<&'a str> {
    client_ids.iter().filter_map(|id| identity_of(id)).filter(|other| *other != identity).collect()
}

/// How often a member looks who else is there.
pub const LOOKS: Duration = Duration::from_secs(30);
/// A destination that has been a member for longer than this, and was once the only one, is no newcomer.
const NEW: Duration = Duration::from_secs(60);

/// Who has been met in the group, and what was known when. Neither of two destinations knows how long the other has been
/// there, but they must come to one decision. A newcomer yields: to the smaller identity at once, to any other that does
/// not yield itself. Whoever was there before waits for that; only if the other is still there long after a newcomer would
/// have ended (it may be of a version that yields by identity alone), the greater of the two identities ends.
#[derive(Debug, Default)]
pub struct Company {
    /// When this destination was first seen in the group itself.
    joined: Option<Instant>,
    /// It was seen there without another.
    was_alone: bool,
    /// Others that were there at the last look, since when, and whether this destination was a newcomer then.
    met: BTreeMap<String, (Instant, bool)>,
}

impl Company {
    /// Takes the client ids of the members; true if the destination of `identity` is the one that ends. A member that was
    /// killed is seen for as long as its `session` lasts.
    pub fn must_yield(
        &mut self,
        client_ids: &[String],
        identity: &str,
        session: Duration,
        now: Instant,
    ) -> bool {
        let strangers = strangers(client_ids, identity);
        if client_ids.iter().any(|id| identity_of(id) == Some(identity)) {
            self.joined.get_or_insert(now);
            self.was_alone |= strangers.is_empty();
        }
        let lasted = |since: Instant| now.saturating_duration_since(since);
        let is_new = !self.was_alone || self.joined.is_none_or(|since| lasted(since) < NEW);
        self.met.retain(|other, _| strangers.contains(other.as_str()));
        strangers.into_iter().any(|other| {
            let (since, was_new) = *self.met.entry(other.to_owned()).or_insert((now, is_new));
            match (was_new, other < identity) {
                (true, true) => true,
                (true, false) => lasted(since) >= LOOKS + session,
                (false, true) => lasted(since) >= LOOKS * 4 + session,
                (false, false) => false,
            }
        })
    }
}

/// The consumer group of a task: its name; with the identity of the destination behind it where the topics are other tasks',
/// so that any number of destinations may read one capture, and none has to know of another.
#[must_use]
pub fn group(config: &Config, identity: &str) -> String {
    if config.is_apply_only() { reading_group(&config.name, identity) } else { config.name.to_string() }
}

impl Ends {
    /// The client ids of the members of `group`, which reads topics of `task`. Blocks.
    pub fn members(&self, group: &str, task: &TaskName) -> Result<Vec<String>, TopicError> {
        // A question to all brokers connects to none: without a connection it waits for half a second.
        let asked = self.committed.ask(|consumer| {
            await_leader(consumer.client(), &history_topic(task), REQUEST_TIMEOUT)?;
            group_members(consumer.client(), group, REQUEST_TIMEOUT)
        });
        asked.map_err(TopicError::during(format!("asking for the members of group {group}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0d7c4a4e-1111-4111-8111-000000000001";
    const TWO: &str = "0d7c4a4e-1111-4111-8111-000000000002";

    #[test]
    fn a_member_shows_its_destination_whatever_it_is_called() {
        let mut client = ClientConfig::new();
        client.set("client.id", "loader@dw");
        let member = member_config(&client, ONE).get("client.id").unwrap().to_owned();
        assert_eq!(identity_of(&member), Some(ONE));
        assert_eq!([identity_of("rdkafka"), identity_of("loader@dw")], [None, None]);
    }

    const SESSION: Duration = Duration::from_secs(10);

    fn group<const N: usize>(identities: [&str; N]) -> [String; N] {
        identities.map(|identity| format!("tributary@{identity}"))
    }

    #[test]
    fn of_two_newcomers_the_greater_identity_yields_and_of_one_none() {
        let (members, now) = (group([ONE, TWO, ONE]), Instant::now());
        let yields =
            |members: &[String], identity| Company::default().must_yield(members, identity, SESSION, now);
        assert!(!yields(&members, ONE) && yields(&members, TWO));
        assert!(!yields(&members[..1], ONE));
        assert!(!yields(&["rdkafka".to_owned()], ONE));
    }

    #[test]
    fn a_newcomer_yields_to_the_one_that_has_always_worked() {
        for (old, new) in [(ONE, TWO), (TWO, ONE)] {
            let (alone, both) = (group([old]), group([old, new]));
            let begun = Instant::now();
            let at = |seconds| begun + Duration::from_secs(seconds);
            let (mut of_old, mut of_new) = (Company::default(), Company::default());
            assert!(!of_old.must_yield(&alone, old, SESSION, at(0)));
            assert!(!of_old.must_yield(&alone, old, SESSION, at(90)));
            // Each looks every 30 s, in a moment of its own, until the newcomer ends.
            let mut ended = None;
            for second in 100..300 {
                if second % 30 == 11 && of_new.must_yield(&both, new, SESSION, at(second)) {
                    ended = Some(second);
                    break;
                }
                assert!(second % 30 != 10 || !of_old.must_yield(&both, old, SESSION, at(second)), "{second}");
            }
            assert!(ended.is_some_and(|second| second < 180), "{ended:?}");
        }
    }

    #[test]
    fn a_newcomer_that_sees_the_other_end_stays() {
        let now = Instant::now();
        let mut company = Company::default();
        assert!(!company.must_yield(&group([ONE, TWO]), ONE, SESSION, now));
        assert!(!company.must_yield(&group([ONE]), ONE, SESSION, now + LOOKS));
        assert!(!company.must_yield(&group([ONE, TWO]), ONE, SESSION, now + LOOKS * 2));
    }

    #[test]
    fn of_two_that_both_think_themselves_the_old_one_the_greater_identity_yields_in_the_end() {
        let now = Instant::now();
        for (identity, other, expected) in [(ONE, TWO, false), (TWO, ONE, true)] {
            let mut company = Company::default();
            assert!(!company.must_yield(&group([identity]), identity, SESSION, now));
            let met = now + NEW;
            assert!(!company.must_yield(&group([identity, other]), identity, SESSION, met));
            assert!(!company.must_yield(&group([identity, other]), identity, SESSION, met + LOOKS * 4));
            let late = met + LOOKS * 5;
            assert_eq!(company.must_yield(&group([identity, other]), identity, SESSION, late), expected);
        }
    }
}

//! Who is in the task's consumer group. A member's client id ends with the identity of its destination, which the group
//! protocol shows to everybody who may describe the group. Pure but for [`Ends::members`].
//!
//! Invariant: of two destinations that meet in one group one ends, so that no row stays with half of the members.

use super::ends::Ends;
use super::error::TopicError;
use super::reader::REQUEST_TIMEOUT;
use rdkafka::ClientConfig;
use std::collections::BTreeSet;
use tributary_schemas::topic::history_topic;
use tributary_service::kafka::await_leader;

/// Stands between a client's own name and the identity.
const SEPARATOR: char = '@';
/// Characters of an identity.
const IDENTITY_LENGTH: usize = 36;

/// The settings of a member of the group that writes into the destination of `identity`.
#[must_use]
pub fn member_config(client: &ClientConfig, identity: &str) -> ClientConfig {
    let mut config = client.clone();
    let name = client.get("client.id").unwrap_or("tributary");
    config.set("client.id", format!("{name}{SEPARATOR}{identity}"));
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

/// True if the destination of `identity` is the one that ends: two that began at the same moment see each other, and
/// must come to the same decision.
#[must_use]
pub fn must_yield(strangers: &BTreeSet<&str>, identity: &str) -> bool {
    strangers.iter().any(|other| *other < identity)
}

impl Ends {
    /// The client ids of the members of `task`'s group. Blocks.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn members(&self, task: &str) -> Result<Vec<String>, TopicError> {
        let during = || TopicError::during(format!("asking for the members of group {task}"));
        // A question to all brokers connects to none: without a connection it waits for half a second.
        await_leader(self.client(), &history_topic(task), REQUEST_TIMEOUT).map_err(during())?;
        let list = self.client().fetch_group_list(Some(task), REQUEST_TIMEOUT).map_err(during())?;
        let members = list.groups().iter().filter(|found| found.name() == task);
        Ok(members.flat_map(|found| found.members()).map(|member| member.client_id().to_owned()).collect())
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
        assert_eq!(member_config(&client, ONE).get("client.id"), Some(&*format!("tributary@{ONE}")));
        client.set("client.id", "loader@dw");
        let member = member_config(&client, ONE).get("client.id").unwrap().to_owned();
        assert_eq!(identity_of(&member), Some(ONE));
        assert_eq!([identity_of("rdkafka"), identity_of("loader@dw")], [None, None]);
    }

    #[test]
    fn of_two_destinations_one_yields_and_of_one_none() {
        let members = [ONE, TWO, ONE].map(|identity| format!("tributary@{identity}"));
        let (of_one, of_two) = (strangers(&members, ONE), strangers(&members, TWO));
        assert_eq!((of_one.len(), of_two.len()), (1, 1));
        assert!(!must_yield(&of_one, ONE) && must_yield(&of_two, TWO));
        assert!(strangers(&members[..1], ONE).is_empty());
        assert!(strangers(&["rdkafka".to_owned()], ONE).is_empty());
    }
}

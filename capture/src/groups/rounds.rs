//! Which groups are asked in a round. Kafka's list of groups, the answers and the time are turned into names. Pure.
//!
//! A cluster may have thousands of groups, of which a handful read the task's topics, and each that is asked costs a client.
//! So readers are asked in every round and keep their clients; any other group is asked once, and then again only
//! now and then, unless its members have partitions of the task's topics: those are about to commit.
//!
//! Invariant: at most [`MOST_READERS`] clients are kept, and at most [`MEETINGS`] are made in a round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tributary_service::kafka::ListedGroup;

/// Readers that are followed; how many more there are is shown.
const MOST_READERS: usize = 50;
/// Groups that are not known as readers and are asked in one round.
const MEETINGS: usize = 10;
/// When a group that has nothing in the task's topics is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(300);

/// What is known of a group.
#[derive(Debug, Default)]
struct Known {
    asked: Option<Instant>,
    /// A member has a partition of the task's topics.
    assigned: bool,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// It has nothing in the task's topics, so far as is known.
    #[default]
    Other,
    /// It reads, and is asked in each round.
    Followed,
    /// It reads, and there are too many that do.
    Beyond,
    /// The account may not ask about it.
    Refused,
}

/// What a question about a group comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It has committed offsets in the task's topics.
    Reads,
    ReadsNothing,
    Refused,
    /// Nobody said anything.
    Unanswered,
}

/// The groups that were met.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    known: BTreeMap<String, Known>,
}

impl Rounds {
    /// Takes Kafka's list. `own` is the group that leads the task, which reads nothing. A reader that the list does not have
    /// stays until it is known to have no offsets: a broker may have been away.
    pub(super) fn listed(&mut self, groups: &[ListedGroup], own: &str) {
        let others = || groups.iter().filter(|group| group.name != own && !group.name.is_empty());
        let names: BTreeSet<&str> = others().map(|group| group.name.as_str()).collect();
        self.known
            .retain(|name, known| names.contains(name.as_str()) || known.standing == Standing::Followed);
        for group in others() {
            let known = self.known.entry(group.name.clone()).or_default();
            known.assigned = group.assigned;
            match (group.state.is_empty(), known.standing) {
                // Kafka says nothing of it, so asking would take the whole of the time that it may.
                (true, Standing::Other) => known.standing = Standing::Refused,
                (false, Standing::Refused) => known.standing = Standing::Other,
                _ => {}
            }
        }
    }

    /// Whom to ask at `now`: the readers, then some of the others; of each, those that were asked least lately first.
    pub(super) fn due(&self, now: Instant) -> Vec<String> {
        let of = |wanted: fn(Standing) -> bool| {
            let mut found: Vec<_> = self.known.iter().filter(|(_, known)| wanted(known.standing)).collect();
            found.sort_by_key(|(_, known)| (known.asked, !known.assigned));
            found
        };
        let is_due = |known: &Known| {
            let rested = |asked| now.saturating_duration_since(asked) >= AGAIN;
            known.assigned || known.asked.is_none_or(rested)
        };
        let followed = of(|standing| standing == Standing::Followed);
        let others = of(|standing| matches!(standing, Standing::Other | Standing::Beyond));
        let met = others.into_iter().filter(|(_, known)| is_due(known)).take(MEETINGS);
        followed.into_iter().chain(met).map(|(name, _)| name.clone()).collect()
    }

    /// Takes an answer; true if the group is followed from now on.
    pub(super) fn answered(&mut self, group: &str, answer: Answered, now: Instant) -> bool {
        let has_place = self.count(Standing::Followed) < MOST_READERS;
        let Some(known) = self.known.get_mut(group) else { return false };
        known.asked = Some(now);
        known.standing = match (answer, known.standing) {
            (Answered::Unanswered, standing) => standing,
            (Answered::Reads, Standing::Followed) => Standing::Followed,
            (Answered::Reads, _) if has_place => Standing::Followed,
            (Answered::Reads, _) => Standing::Beyond,
            (Answered::ReadsNothing, _) => Standing::Other,
            (Answered::Refused, _) => Standing::Refused,
        };
        known.standing == Standing::Followed
    }

    /// Readers that are not followed, because there are too many.
    pub(super) fn beyond(&self) -> usize {
        self.count(Standing::Beyond)
    }

    /// True if Kafka says nothing of some group.
    pub(super) fn is_refused(&self) -> bool {
        self.count(Standing::Refused) > 0
    }

    /// Groups that have not been asked yet.
    pub(super) fn unmet(&self) -> usize {
        let unmet = |known: &&Known| known.asked.is_none() && known.standing != Standing::Refused;
        self.known.values().filter(unmet).count()
    }

    fn count(&self, standing: Standing) -> usize {
        self.known.values().filter(|known| known.standing == standing).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(name: &str, assigned: bool) -> ListedGroup {
        ListedGroup { name: name.to_owned(), state: "Stable".to_owned(), members: 1, assigned }
    }

    fn list(rounds: &mut Rounds, groups: &[ListedGroup]) {
        rounds.listed(groups, "t.capture");
    }

    #[test]
    fn a_group_that_reads_nothing_is_asked_again_only_now_and_then_and_each_time_if_it_is_about_to() {
        let (mut rounds, start) = (Rounds::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        list(&mut rounds, &[group("idle", false), group("joins", true), group("t.capture", true)]);
        assert_eq!(rounds.due(at(0)), ["joins", "idle"], "never the group of capture itself");
        for name in ["joins", "idle"] {
            assert!(!rounds.answered(name, Answered::ReadsNothing, at(0)));
        }
        assert_eq!(rounds.due(at(15)), ["joins"]);
        rounds.answered("joins", Answered::Unanswered, at(15));
        assert_eq!(rounds.due(at(299)), ["joins"]);
        assert_eq!(rounds.due(at(300)), ["idle", "joins"]);
    }

    #[test]
    fn a_reader_is_asked_in_each_round_until_it_has_nothing_any_more() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        list(&mut rounds, &[group("sink", false)]);
        assert!(rounds.answered("sink", Answered::Reads, now));
        // A broker that is away leaves its groups out of the list.
        list(&mut rounds, &[]);
        assert!(rounds.answered("sink", Answered::Unanswered, now));
        assert_eq!(rounds.due(now), ["sink"]);
        assert!(!rounds.answered("sink", Answered::ReadsNothing, now));
        list(&mut rounds, &[]);
        assert!(rounds.due(now + AGAIN).is_empty());
    }

    #[test]
    fn what_may_not_be_asked_is_not_asked() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let hidden = ListedGroup { state: String::new(), ..group("hidden", false) };
        list(&mut rounds, &[hidden, group("tells", false)]);
        assert!(rounds.due(now) == ["tells"] && rounds.is_refused());
        rounds.answered("tells", Answered::Refused, now);
        assert!(rounds.due(now + AGAIN).is_empty() && rounds.unmet() == 0);
        // The account was granted it.
        list(&mut rounds, &[group("hidden", false), group("tells", false)]);
        assert!(rounds.due(now + AGAIN).len() == 2 && !rounds.is_refused());
    }

    #[test]
    fn a_reader_too_many_is_counted_and_takes_the_place_of_one_that_goes() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let names: Vec<String> = (0..=MOST_READERS).map(|number| format!("g{number:03}")).collect();
        list(&mut rounds, &names.iter().map(|name| group(name, false)).collect::<Vec<_>>());
        let followed = names.iter().filter(|name| rounds.answered(name, Answered::Reads, now)).count();
        assert_eq!((followed, rounds.beyond()), (MOST_READERS, 1));
        rounds.answered(&names[0], Answered::ReadsNothing, now);
        assert!(rounds.due(now + AGAIN).contains(&names[MOST_READERS]));
        assert!(rounds.answered(&names[MOST_READERS], Answered::Reads, now + AGAIN));
        assert_eq!(rounds.beyond(), 0);
    }

    proptest! {
        /// Whatever the groups answer, clients are bounded, and nobody waits for ever.
        #[test]
        fn clients_are_bounded_and_every_group_has_its_turn(
            answers in prop::collection::vec(prop::collection::vec(0_u8..4, 1..8), 1..120),
        ) {
            let (mut rounds, start) = (Rounds::default(), Instant::now());
            let names: Vec<String> = (0..answers.len()).map(|number| format!("g{number:03}")).collect();
            let groups: Vec<ListedGroup> =
                (0..).zip(&names).map(|(number, name)| group(name, number % 3 == 0)).collect();
            for round in 0_u32..60 {
                let now = start + Duration::from_secs(15) * round;
                list(&mut rounds, &groups);
                let followed = rounds.count(Standing::Followed);
                let due = rounds.due(now);
                prop_assert!(followed <= MOST_READERS && due.len() <= followed + MEETINGS);
                for name in &due {
                    let of = &answers[names.iter().position(|known| known == name).unwrap()];
                    let answer = match of[usize::try_from(round).unwrap() % of.len()] {
                        0 => Answered::Unanswered,
                        1 => Answered::ReadsNothing,
                        2 => Answered::Refused,
                        _ => Answered::Reads,
                    };
                    rounds.answered(name, answer, now);
                }
            }
            prop_assert_eq!(rounds.unmet(), 0);
        }
    }
}

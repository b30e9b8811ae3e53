//! Generations of which only the number is left. Their definitions stay, with whoever holds them; a later generation has
//! emptied the table. Records of them may lie in the table's topic for ever, so that the ids of their schemas must mean
//! something for ever.

use super::steps::Steps;
use super::{GENERATION_FORMAT, RETIRED_FORMAT};
use serde::{Deserialize, Serialize};

/// Value under [`super::HistoryKey::Retired`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetiredRecord {
    /// The oldest format that says all of it: [`super::GENERATION_FORMAT`] where every run goes up evenly, else
    /// [`super::RETIRED_FORMAT`].
    pub format: u32,
    /// In the order of generations.
    pub runs: Vec<Run>,
}

/// Generations in a row, which have one definition. Generations and versions go up by one, schema ids by `step` or as
/// `steps` say: the tables of a task take their ids from one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The generation whose record holds the definition, and names the topic.
    pub same_as: u32,
    /// The first generation.
    pub generation: u32,
    /// Version of its schema of values.
    pub version: u32,
    /// Id of that schema.
    pub id: u32,
    /// From one id to the next, if that is always as much; else 0.
    pub step: u32,
    /// How many there are.
    pub count: u32,
    /// From one id to the next, if that is not always as much; since format 3.
    #[serde(default, skip_serializing_if = "Steps::is_empty")]
    pub steps: Steps,
}

/// Generation, version and schema id of a generation.
type Numbers = (u32, u32, u32);

impl Run {
    const fn new(same_as: u32, (generation, version, id): Numbers) -> Self {
        Self { same_as, generation, version, id, step: 0, count: 1, steps: Steps::none() }
    }

    fn ids(&self) -> Steps {
        let even = || Steps::even(self.step, self.count.saturating_sub(1));
        if self.steps.is_empty() { even() } else { self.steps.clone() }
    }

    /// Generation, version and schema id of each.
    pub fn each(&self) -> impl Iterator<Item = (u32, u32, u32)> + use<> {
        let (generation, version, first) = (self.generation, self.version, self.id);
        let ids = self.ids().into_series(first);
        (0..self.count)
            .zip(ids)
            .map(move |(place, id)| (generation.saturating_add(place), version.saturating_add(place), id))
    }

    /// True if `generation` is one of them.
    #[must_use]
    pub const fn has(&self, generation: u32) -> bool {
        generation >= self.generation && generation - self.generation < self.count
    }

    /// True if `id` is the schema id of one of them.
    #[must_use]
    pub fn has_schema(&self, id: u32) -> bool {
        let Some(distance) = id.checked_sub(self.id).filter(|_| self.count > 0) else { return false };
        if !self.steps.is_empty() {
            return self.steps.meets(distance);
        }
        distance == 0 || distance.checked_rem(self.step) == Some(0) && distance / self.step < self.count
    }

    /// The last schema id.
    fn last_id(&self) -> u32 {
        let even = self.count.saturating_sub(1).saturating_mul(self.step);
        self.id.saturating_add(if self.steps.is_empty() { even } else { self.steps.distance() })
    }

    /// Takes up the generation that follows; false if it does not belong to this run.
    fn extend(&mut self, same_as: u32, last_id: u32, (generation, version, id): Numbers) -> bool {
        let follows = self.same_as == same_as
            && Some(generation) == self.generation.checked_add(self.count)
            && Some(version) == self.version.checked_add(self.count);
        let Some(step) = id.checked_sub(last_id).filter(|step| *step > 0 && follows) else { return false };
        if self.steps.is_empty() && (self.count == 1 || step == self.step) {
            self.step = step;
        } else {
            if self.steps.is_empty() {
                (self.steps, self.step) = (self.ids(), 0);
            }
            self.steps.push(step);
        }
        self.count += 1;
        true
    }
}

impl RetiredRecord {
    /// Adds a generation, with the version and the id of its schema.
    pub fn push(&mut self, same_as: u32, next: Numbers) {
        let end = self.runs.last().map_or(0, |run| run.generation.saturating_add(run.count));
        if next.0 < end {
            // It has stayed while later ones went. Between its neighbours it makes one run of two.
            let each = self.runs.iter().flat_map(|run| run.each().map(|numbers| (run.same_as, numbers)));
            let mut all: Vec<(u32, Numbers)> = each.chain([(same_as, next)]).collect();
            all.sort_unstable_by_key(|(_, (generation, ..))| *generation);
            self.runs.clear();
            let mut last_id = 0;
            for (same_as, numbers) in all {
                self.append(same_as, last_id, numbers);
                last_id = numbers.2;
            }
        } else {
            let last_id = self.runs.last().map_or(0, Run::last_id);
            self.append(same_as, last_id, next);
        }
        let is_even = self.runs.iter().all(|run| run.steps.is_empty());
        self.format = if is_even { GENERATION_FORMAT } else { RETIRED_FORMAT };
    }

    fn append(&mut self, same_as: u32, last_id: u32, next: Numbers) {
        if !self.runs.last_mut().is_some_and(|run| run.extend(same_as, last_id, next)) {
            self.runs.push(Run::new(same_as, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hourly_truncate_of_five_tables_is_one_run_for_each() {
        let mut retired = RetiredRecord::default();
        for hour in 0..10_000 {
            retired.push(1, (2 + hour, 2 + hour, 9 + 5 * hour));
        }
        assert_eq!(retired.runs.len(), 1);
        assert!(retired.runs[0].has_schema(9 + 5 * 9_999) && !retired.runs[0].has_schema(10));
        assert!(!retired.runs[0].has_schema(9 + 5 * 10_000) && !retired.runs[0].has(10_002));
        assert_eq!(retired.format, GENERATION_FORMAT, "as ever");
    }

    #[test]
    fn however_irregular_a_truncate_leaves_a_few_bytes() {
        let (mut retired, mut id) = (RetiredRecord::default(), 9);
        for number in 0..10_000_u32 {
            // Up to a hundred other generations came in between.
            id += 1 + number.wrapping_mul(2_654_435_761) % 100;
            retired.push(1, (2 + number, 2 + number, id));
        }
        let bytes = serde_json::to_string(&retired).unwrap().len();
        assert!(bytes < 4 * 10_000, "{bytes} bytes, {} runs", retired.runs.len());
        assert_eq!(retired.format, RETIRED_FORMAT, "an older version cannot read it");
    }

    #[test]
    fn one_that_has_stayed_for_long_closes_the_gap() {
        let mut retired = RetiredRecord::default();
        for generation in [2, 3, 5, 6, 4, 8, 9, 7] {
            retired.push(1, (generation, generation, 10 * generation));
        }
        let run = Run { step: 10, count: 8, ..Run::new(1, (2, 2, 20)) };
        assert_eq!(retired.runs, [run]);
    }

    proptest! {
        #[test]
        fn runs_say_what_was_added(
            steps in prop::collection::vec((1_u32..4, prop_oneof![4 => Just(1), 1 => Just(2_u32)], prop_oneof![9 => Just(0), 1 => Just(1_u32)]), 1..60),
            stays in 0_usize..60,
        ) {
            let (mut retired, mut added) = (RetiredRecord::default(), Vec::new());
            let (mut generation, mut id, mut same_as) = (1, 1, 1);
            for (ids, generations, another) in steps {
                (generation, id) = (generation + generations, id + ids);
                same_as += another * 2;
                added.push((same_as, generation, generation, id));
            }
            let late = added.get(stays);
            for (same_as, generation, version, id) in added.iter().filter(|all| Some(*all) != late).chain(late) {
                retired.push(*same_as, (*generation, *version, *id));
            }
            let text = serde_json::to_string(&retired).unwrap();
            prop_assert_eq!(&serde_json::from_str::<RetiredRecord>(&text).unwrap(), &retired);
            let listed: Vec<(u32, u32, u32, u32)> = retired
                .runs
                .iter()
                .flat_map(|run| run.each().map(|(generation, version, id)| (run.same_as, generation, version, id)))
                .collect();
            prop_assert_eq!(&listed, &added);
            for id in 0..200 {
                let found = retired.runs.iter().find(|run| run.has_schema(id)).map(|run| run.same_as);
                let wanted = added.iter().find(|(.., known)| *known == id).map(|(same_as, ..)| *same_as);
                prop_assert_eq!(found, wanted);
            }
        }
    }
}

//! Generations of which only the number is left. Their definitions stay, with whoever holds them; a later generation has
//! emptied the table. Records of them may lie in the table's topic for ever, so that the ids of their schemas must mean
//! something for ever.

use serde::{Deserialize, Serialize};

/// Value under [`super::HistoryKey::Retired`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetiredRecord {
    /// [`super::GENERATION_FORMAT`] of the writer.
    pub format: u32,
    /// In the order of generations.
    pub runs: Vec<Run>,
}

/// Generations in a row, which have one definition. Generations and versions go up by one, schema ids by `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The generation whose record holds the definition, and names the topic.
    pub same_as: u32,
    /// The first generation.
    pub generation: u32,
    /// Version of its schema of values.
    pub version: u32,
    /// Id of that schema.
    pub id: u32,
    /// From one id to the next.
    pub step: u32,
    /// How many there are.
    pub count: u32,
}

impl Run {
    /// Generation, version and schema id of each.
    pub fn each(self) -> impl Iterator<Item = (u32, u32, u32)> {
        (0..self.count).map(move |place| {
            let id = self.id.saturating_add(place.saturating_mul(self.step));
            (self.generation.saturating_add(place), self.version.saturating_add(place), id)
        })
    }

    /// True if `generation` is one of them.
    #[must_use]
    pub const fn has(&self, generation: u32) -> bool {
        generation >= self.generation && generation - self.generation < self.count
    }

    /// True if `id` is the schema id of one of them.
    #[must_use]
    pub const fn has_schema(&self, id: u32) -> bool {
        match id.checked_sub(self.id) {
            Some(0) => self.count > 0,
            Some(distance) if self.step > 0 => distance % self.step == 0 && distance / self.step < self.count,
            _ => false,
        }
    }

    /// Takes up the generation that follows; false if it does not belong to this run.
    fn extend(&mut self, same_as: u32, (generation, version, id): (u32, u32, u32)) -> bool {
        let follows = self.same_as == same_as
            && Some(generation) == self.generation.checked_add(self.count)
            && Some(version) == self.version.checked_add(self.count);
        let last = self.id.saturating_add((self.count.saturating_sub(1)).saturating_mul(self.step));
        let Some(step) = id.checked_sub(last).filter(|step| *step > 0) else { return false };
        if !follows || (self.count > 1 && step != self.step) {
            return false;
        }
        (self.step, self.count) = (step, self.count + 1);
        true
    }
}

impl RetiredRecord {
    /// Adds a generation, with the version and the id of its schema. They come in their order.
    pub fn push(&mut self, same_as: u32, next: (u32, u32, u32)) {
        if self.runs.last_mut().is_some_and(|run| run.extend(same_as, next)) {
            return;
        }
        let (generation, version, id) = next;
        self.runs.push(Run { same_as, generation, version, id, step: 0, count: 1 });
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
    }

    proptest! {
        #[test]
        fn runs_say_what_was_added(steps in prop::collection::vec((1_u32..4, 1_u32..3, 0_u32..2), 1..60)) {
            let (mut retired, mut added) = (RetiredRecord::default(), Vec::new());
            let (mut generation, mut id, mut same_as) = (1, 1, 1);
            for (ids, generations, another) in steps {
                (generation, id) = (generation + generations, id + ids);
                same_as += another * 2;
                retired.push(same_as, (generation, generation, id));
                added.push((same_as, generation, generation, id));
            }
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

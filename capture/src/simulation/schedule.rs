//! One schedule: what happens in which order, by a seed.

use super::applies::Applies;
use super::kafka::Kafka;
use super::model::{Own, Violation, check, check_quiet};
use super::session::{Session, World};
use super::source::Source;
use crate::binlog::event::kind;
use crate::sequencer::halt::Halt;
use crate::snapshot::reader::ReaderMessage;
use crate::topics::incarnation::Found;
use std::time::{Duration, Instant};

/// A safeguard to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    ReadWithoutWaiting,
    PublishTouchedRows,
    TakeBarriersEarly,
    ForgetParts,
    ForgetUndecided,
    ForgetGaps,
    CommitInParts,
    AskBeforeCommit,
    CompleteWithoutStream,
    MergeWithoutComparing,
    DefineAtFirstArrival,
}

impl Fault {
    /// Each, with what the first schedule that notices it says.
    pub(super) const ALL: [(Self, &[&str]); 11] = [
        (Self::ReadWithoutWaiting, &["the topic has"]),
        (Self::PublishTouchedRows, &["the topic has"]),
        (Self::TakeBarriersEarly, &["schema", "the topic has"]),
        (Self::ForgetParts, &["a second time"]),
        (Self::ForgetUndecided, &["the topic has", "row events"]),
        (Self::ForgetGaps, &["is parked"]),
        (Self::CommitInParts, &["the topic has", "row events"]),
        (
            Self::AskBeforeCommit,
            &["was never published", "is not loaded", "has the columns", "the topic has"],
        ),
        (Self::CompleteWithoutStream, &["the topic has", "row events"]),
        (Self::MergeWithoutComparing, &["merged:", "goes back"]),
        (Self::DefineAtFirstArrival, &["merged:"]),
    ];
}

/// Steps until a schedule that does not become quiet is given up.
const PATIENCE: usize = 20_000;

/// See the module.
pub(super) struct Schedule {
    world: World,
    session: Option<Session>,
    applies: Applies,
    weights: [u32; 8],
    steps: usize,
    done: usize,
}

/// How an action goes wrong.
enum End {
    /// The session of capture ends, or the task stops.
    Halt(Halt),
    Violation(Violation),
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

type Act = fn(&mut Schedule) -> Result<(), End>;

const ACTIONS: [Act; 8] = [
    |this| {
        this.world.source.begin(&mut this.world.random);
        Ok(())
    },
    |this| {
        this.world.source.commit(&mut this.world.random);
        Ok(())
    },
    Schedule::stream,
    Schedule::read,
    Schedule::tick,
    Schedule::disturb,
    |_| Err(Halt::Restart("the process ended".to_owned()).into()),
    Schedule::apply,
];

impl Schedule {
    /// Ends after at most `steps` steps.
    pub(super) fn new(seed: u64, fault: Fault, steps: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut weights = [24, 24, 32, 32, 16, 2, 1, 16];
        weights.iter_mut().for_each(|weight| *weight *= [1, 4, 16][random.usize(0..3)]);
        let mut source = Source::new();
        for _ in 0..random.usize(0..12) {
            if random.bool() { source.begin(&mut random) } else { source.commit(&mut random) }
        }
        let steps = random.usize(5..60).min(steps);
        source.tells = std::env::var_os("TRIBUTARY_SEED").is_some();
        let world = World {
            crash_in: [0, 200, 30][random.usize(0..3)],
            quiet: false,
            source,
            kafka: Kafka::default(),
            fault,
            elapsed: Duration::ZERO,
            began: Instant::now(),
            committed: false,
            windows_bytes: [64, 4096][random.usize(0..2)],
            memory_bytes: [1600, 1 << 20][random.usize(0..2)],
            lag_ms: [50, 1 << 40][random.usize(0..2)],
            random,
        };
        Self { world, session: None, applies: Applies::new(fault), weights, steps, done: 0 }
    }

    /// How many steps it took to fail, and why.
    pub(super) fn run(mut self) -> Result<(), (usize, Violation)> {
        while self.done < self.steps {
            self.done += 1;
            self.step().map_err(|why| (self.done, why))?;
        }
        self.become_quiet().map_err(|why| (self.done, why))
    }

    fn step(&mut self) -> Result<(), Violation> {
        let mut chance = self.world.random.u32(0..self.weights.iter().sum());
        for (weight, action) in self.weights.into_iter().zip(ACTIONS) {
            if chance < weight {
                return self.act(action);
            }
            chance -= weight;
        }
        Ok(())
    }

    fn act(&mut self, action: Act) -> Result<(), Violation> {
        self.world.elapsed += Duration::from_millis(self.world.random.u64(0..60));
        let done = action(self);
        let ended = done.is_err();
        match done {
            Ok(()) => {}
            Err(End::Halt(Halt::Restart(why) | Halt::Fenced(why))) => {
                self.world.tell(|| format!("step {}: the session ends: {why}", self.done));
                self.session = None;
            }
            Err(End::Halt(Halt::Refused(refused))) => return Err(refused.to_string()),
            Err(End::Halt(Halt::Stop(failure))) => return Err(format!("the task stops: {failure}")),
            Err(End::Violation(why)) => return Err(why),
        }
        // The check goes through everything: now and then will do, and where a session has ended.
        let often = if ended { 2 } else { 24 };
        if self.world.committed && self.world.random.u8(0..often) == 0 {
            self.world.committed = false;
            check(&self.world.kafka, &self.world.source)?;
        }
        Ok(())
    }

    /// Nothing new happens, and nothing fails any more.
    fn become_quiet(&mut self) -> Result<(), Violation> {
        self.world.quiet = true;
        self.world.source.commit_all();
        for _ in 0..PATIENCE {
            self.act(Self::stream)?;
            while self.session.as_ref().is_some_and(|session| session.jobs.iter().any(Option::is_some)) {
                self.act(Self::read)?;
            }
            self.act(Self::tick)?;
            self.world.elapsed += Duration::from_millis(500);
            let loaded = self.session.as_ref().is_some_and(|session| {
                session.sequencer.is_loaded() && session.stream.is_at_end(&self.world.source.server)
            });
            if loaded {
                self.world.elapsed += Duration::from_secs(30);
                self.act(Self::tick)?;
                let World { kafka, source, random, .. } = &mut self.world;
                check_quiet(kafka, source)?;
                return self.applies.become_quiet(kafka, source, random);
            }
        }
        Err("it does not become quiet".to_owned())
    }

    /// The session, which begins if there is none.
    fn with<T>(&mut self, work: impl FnOnce(&mut World, &mut Session) -> Result<T, Halt>) -> Result<T, End> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.world.open()?,
        };
        let done = work(&mut self.world, &mut session)?;
        self.session = Some(session);
        Ok(done)
    }

    fn stream(&mut self) -> Result<(), End> {
        self.with(|world, session| {
            let most = if world.quiet { 64 } else { world.random.usize(1..8) };
            if world.random.u8(0..4) == 0 {
                session.stream.heartbeat(&world.source.server);
            }
            let events = session.stream.next(&world.source.server, &world.source.log, most);
            let now = world.now();
            for event in events.iter().filter(|event| event.header.kind == kind::GTID) {
                world.tell(|| format!("the stream passes the begin of {}", event.data[17]));
            }
            world.decide(session, async |sequencer| sequencer.on_events(&events, now).await)
        })
    }

    fn read(&mut self) -> Result<(), End> {
        self.with(|world, session| {
            let busy: Vec<usize> =
                (0..session.jobs.len()).filter(|reader| session.jobs[*reader].is_some()).collect();
            let Some(reader) = world.random.choice(busy) else { return Ok(()) };
            let mut job = session.jobs[reader].take().unwrap();
            let waits = world.fault != super::Fault::ReadWithoutWaiting;
            let message = job.step(&world.source, &mut world.random, waits);
            if matches!(message, None | Some(ReaderMessage::Batch { .. })) {
                session.jobs[reader] = Some(job);
            }
            let Some(message) = message else { return Ok(()) };
            world.tell(|| format!("reader {reader}: {message:?}"));
            let now = world.now();
            world.decide(session, async |sequencer| sequencer.on_reader((reader, message), now).await)
        })
    }

    fn tick(&mut self) -> Result<(), End> {
        self.with(|world, session| {
            let now = world.now();
            world.decide(session, async |sequencer| sequencer.tick(now).await)?;
            if world.random.u8(0..8) > 0 {
                return Ok(());
            }
            let ends = |(topic, _): (String, u32)| (topic.clone(), Found::Ends(world.kafka.ends(&topic)));
            let seen: Vec<(String, Found)> =
                session.sequencer.watched_topics().into_iter().map(ends).collect();
            world.decide(session, async |sequencer| sequencer.on_topics(&seen).await)
        })
    }

    /// The other service goes on, whether capture runs or not.
    fn apply(&mut self) -> Result<(), End> {
        let World { kafka, random, .. } = &mut self.world;
        for _ in 0..random.usize(1..24) {
            self.applies.step(kafka, random, false).map_err(End::Violation)?;
        }
        Ok(())
    }

    /// The source changes its binlog file or its server, or purges what capture has behind it.
    fn disturb(&mut self) -> Result<(), End> {
        let World { random, source, kafka, .. } = &mut self.world;
        match random.u8(0..6) {
            0 | 1 => {
                source.fail_over(random);
                return Err(Halt::Restart("the connection is gone".to_owned()).into());
            }
            2 => {
                // A transaction that is published in part is still needed. One that is prepared goes: it may be forgotten.
                if let Some(checkpoint) = Own::read(kafka).state.checkpoint {
                    let mut passed = checkpoint.position.gtid_set.clone();
                    checkpoint.prepared().for_each(|gtid| passed.insert(&gtid));
                    // A file that is purged has no transaction that is not committed.
                    source.commit_those(&passed);
                    if source.server.purge(&passed) {
                        return Err(Halt::Restart("the stream's file is gone".to_owned()).into());
                    }
                }
            }
            3 => {
                self.with(|world, session| {
                    world.decide(session, async |sequencer| {
                        sequencer.finish().await;
                        Ok(())
                    })
                })?;
                return Err(Halt::Restart("the end was asked for".to_owned()).into());
            }
            _ => source.server.rotate(),
        }
        Ok(())
    }
}

//! One schedule: what happens in which order, by a seed.

use super::kafka::Kafka;
use super::model::{Violation, check, check_quiet};
use super::session::{Session, World};
use super::source::Source;
use crate::binlog::event::kind;
use crate::sequencer::halt::Halt;
use crate::snapshot::reader::ReaderMessage;
use std::time::{Duration, Instant};

/// A safeguard to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    ReadWithoutWaiting,
    PublishTouchedRows,
    TakeNoBarriers,
    ForgetParts,
    AskBeforeCommit,
    CompleteWithoutStream,
}

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::ReadWithoutWaiting,
        Self::PublishTouchedRows,
        Self::TakeNoBarriers,
        Self::ForgetParts,
        Self::AskBeforeCommit,
        Self::CompleteWithoutStream,
    ];
}

/// Steps until a schedule that does not become quiet is given up.
const PATIENCE: usize = 20_000;

/// See the module.
pub(super) struct Schedule {
    world: World,
    session: Option<Session>,
    weights: [u32; 7],
    steps: usize,
    done: usize,
}

type Act = fn(&mut Schedule) -> Result<(), Halt>;

const ACTIONS: [Act; 7] = [
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
    |_| Err(Halt::Restart("the process ended".to_owned())),
];

impl Schedule {
    /// Ends after at most `steps` steps.
    pub(super) fn new(seed: u64, fault: Fault, steps: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut weights = [24, 24, 32, 32, 16, 2, 1];
        weights.iter_mut().for_each(|weight| *weight *= [1, 4, 16][random.usize(0..3)]);
        let mut source = Source::new();
        for _ in 0..random.usize(0..12) {
            if random.bool() { source.begin(&mut random) } else { source.commit(&mut random) }
        }
        let steps = random.usize(10..110).min(steps);
        source.tells = std::env::var_os("TRIBUTARY_SEED").is_some();
        let world = World {
            crash_in: [0, 200, 30][random.usize(0..3)],
            quiet: false,
            random,
            source,
            kafka: Kafka::default(),
            fault,
            elapsed: Duration::ZERO,
            began: Instant::now(),
            committed: false,
        };
        Self { world, session: None, weights, steps, done: 0 }
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
        match action(self) {
            Ok(()) => {}
            Err(Halt::Restart(why) | Halt::Fenced(why)) => {
                self.world.tell(|| format!("step {}: the session ends: {why}", self.done));
                self.session = None;
            }
            Err(Halt::Stop(failure)) => return Err(format!("the task stops: {failure}")),
        }
        // The check goes through everything; now and then will do.
        if self.world.committed && self.world.random.u8(0..24) == 0 {
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
                return check_quiet(&self.world.kafka, &self.world.source);
            }
        }
        Err("it does not become quiet".to_owned())
    }

    /// The session, which begins if there is none.
    fn with<T>(&mut self, work: impl FnOnce(&mut World, &mut Session) -> Result<T, Halt>) -> Result<T, Halt> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.world.open()?,
        };
        let done = work(&mut self.world, &mut session)?;
        self.session = Some(session);
        Ok(done)
    }

    fn stream(&mut self) -> Result<(), Halt> {
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

    fn read(&mut self) -> Result<(), Halt> {
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

    fn tick(&mut self) -> Result<(), Halt> {
        self.with(|world, session| {
            let now = world.now();
            world.decide(session, async |sequencer| sequencer.tick(now).await)
        })
    }

    /// The source changes its binlog file, or its server.
    fn disturb(&mut self) -> Result<(), Halt> {
        if self.world.random.u8(0..3) > 0 {
            self.world.source.server.rotate();
            return Ok(());
        }
        self.world.source.fail_over(&mut self.world.random);
        Err(Halt::Restart("the connection is gone".to_owned()))
    }
}

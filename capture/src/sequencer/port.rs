//! The seam between the sequencer, which decides, and what carries its decisions out. A decision is an `async` function that
//! needs nothing of a runtime: where it needs the world, an [`Action`] leaves, and it sleeps until that is answered.
//!
//! Invariant: one action is under way at a time; a decision whose action failed never goes on.

use super::halt::Halt;
use crate::topics::admin::TopicError;
use crate::topics::incarnation::Found;
use crate::topics::outbox::Outbox;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tributary_schemas::gtid::GtidSet;
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;
use tributary_source::catalog::CatalogTable;

/// What the sequencer needs of the world. Each is answered once; one that fails ends the session.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send the records, which opens a Kafka transaction if none is open.
    Publish(Call<Outbox, Outbox>),
    /// Send the records and commit: every record has its offset then.
    Commit(Call<Outbox, Committed>),
    /// The end of each partition of each topic, read uncommitted: the offset that the next record gets.
    Ends(Call<Vec<(Arc<str>, u32)>, Vec<PartitionEnds>>),
    /// Every topic of the cluster that may be seen, with its partitions.
    Cluster(Call<(), BTreeMap<String, u32>>),
    /// What became of the topics that had so many partitions; `None` if Kafka does not say.
    Look(Call<Vec<(String, u32)>, Option<Vec<Found>>>),
    /// Make those of the topics that do not exist: partitions of each, or why Kafka refuses it.
    Ensure(Call<Vec<String>, Vec<Ensured>>),
    /// The definition of a table on the source now.
    Definition(Call<DefinitionQuestion, Answered<Option<Defined>>>),
    /// The place behind everything that is committed on the source by now.
    SourcePosition(Call<(), Position>),
    /// Nothing: a step of this name is reached, where a run with faults may end or halt the process.
    Reach(Call<&'static str, ()>),
}

/// An answer that may take its time.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub answer: T,
    /// How long it took.
    pub took: Duration,
}

/// The end of each partition of a topic.
pub(crate) type PartitionEnds = Vec<i64>;
/// Partitions of a topic, or why Kafka refuses it.
pub(crate) type Ensured = Result<u32, TopicError>;
/// A definition, and a place where it holds.
pub(crate) type Defined = (CatalogTable, Position);

/// What is asked of a table.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionQuestion {
    pub id: TableId,
    /// If one of these is there, the table is a tool's, and there is no answer.
    pub shadowed: Vec<TableId>,
    /// What the source must have committed before it is asked.
    pub reached: GtidSet,
}

/// A Kafka transaction is committed.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The outbox that was handed over, empty.
    pub outbox: Outbox,
    /// How long that took.
    pub took: Duration,
}

/// A question, and where its answer is waited for.
pub(crate) struct Call<Q, A> {
    /// What is asked.
    pub question: Q,
    reply: Reply<A>,
}

/// Where an answer is waited for.
pub(crate) struct Reply<A>(Rc<Cell<Option<A>>>);

impl<A> Reply<A> {
    /// Wakes the decision.
    pub(crate) fn answer(self, answer: A) {
        self.0.set(Some(answer));
    }
}

impl<Q, A> Call<Q, A> {
    /// The question, to be taken apart, and where its answer goes.
    pub(crate) fn split(self) -> (Q, Reply<A>) {
        (self.question, self.reply)
    }

    /// Wakes the decision.
    pub(crate) fn answer(self, answer: A) {
        self.reply.answer(answer);
    }
}

impl<Q: fmt::Debug, A> fmt::Debug for Call<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.question.fmt(f)
    }
}

/// Where actions leave.
#[derive(Default, Clone)]
pub(crate) struct Port(Rc<Cell<Option<Action>>>);

impl Port {
    /// Lets an action leave, and sleeps until it is answered.
    pub(super) async fn ask<Q, A>(&self, question: Q, action: fn(Call<Q, A>) -> Action) -> A {
        let reply = Rc::new(Cell::new(None));
        self.0.set(Some(action(Call { question, reply: Reply(Rc::clone(&reply)) })));
        poll_fn(|_| reply.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Brings a decision to its end. `carry_out` answers each action; its error is the decision's end.
    ///
    /// # Errors
    /// What the decision comes to, or what `carry_out` says.
    pub(crate) fn run<T>(
        &self,
        decision: impl Future<Output = Result<T, Halt>>,
        mut carry_out: impl FnMut(Action) -> Result<(), Halt>,
    ) -> Result<T, Halt> {
        let (mut decision, mut context) = (pin!(decision), Context::from_waker(Waker::noop()));
        loop {
            match decision.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => match self.0.take() {
                    Some(action) => carry_out(action)?,
                    None => {
                        unreachable!("a decision sleeps without an action, or its action was not answered")
                    }
                },
            }
        }
    }
}

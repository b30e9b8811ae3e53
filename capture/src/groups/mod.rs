//! The consumer groups that read the topics of the task's tables: who they are and how far behind each is, for people and
//! alerts. `lag` and `rounds` decide, without IO and clock; `ask` asks Kafka, `watch` does so beside the stream.
//!
//! Invariant: no group is joined, committed for, or changed, and nothing here can end or hold up a session.

pub(crate) mod ask;
mod lag;
mod rounds;
pub(crate) mod watch;

/// Topics with their partitions.
pub(crate) type TopicList = Vec<(String, u32)>;

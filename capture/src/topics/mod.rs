//! Kafka as capture sees it: topics with the settings the design rests on, one transactional producer, and the
//! state and history that a new leader goes on from.

pub(crate) mod admin;
pub(crate) mod incarnation;
pub(crate) mod lost;
pub(crate) mod mirror;
pub(crate) mod names;
pub(crate) mod outbox;
pub(crate) mod producer;
pub(crate) mod reach;
pub(crate) mod records;
pub(crate) mod state;
pub(crate) mod stored;

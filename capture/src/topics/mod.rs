//! Kafka as capture sees it: topics with the settings the design rests on, one transactional producer, and the
//! state and history that a new leader goes on from.

pub mod admin;
pub mod incarnation;
pub mod lost;
pub mod mirror;
pub mod names;
pub mod outbox;
pub mod producer;
pub mod records;
pub mod state;

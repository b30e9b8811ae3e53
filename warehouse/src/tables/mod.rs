//! One table of a task and its target: what the history and the configuration make of it ([`task`]), where its generations
//! begin ([`barriers`]), who else has rows in the target ([`ownership`]), and whether that takes the rows ([`fit`], pure, and
//! [`examine`]).

pub mod barriers;
pub mod examine;
pub mod fit;
pub mod ownership;
pub mod sharing;
pub mod task;

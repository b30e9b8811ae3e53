//! `apply` on real servers, fed by a producer of the tests' own: what reaches the destination from hand-made topics,
//! whatever happens to the process meanwhile. `deploy/local/servers` starts what does not run.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what is missing fails the test")]

mod altered;
mod analyzed;
mod anew;
mod faults;
mod gone;
mod identity;
mod mended;
mod order;
mod ownership;
mod pooled;
mod process;
mod recreated;
mod refusals;
mod rights;
mod rows;
mod sessions;
mod shared;
mod support;
mod topic;

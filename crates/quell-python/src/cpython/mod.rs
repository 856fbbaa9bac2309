//! What CPython keeps to itself: the layouts of its thread states, frames and code objects, read by version.
//!
//! Everything in quell that depends on a private field of the interpreter goes through this folder, and nothing
//! in this folder decides anything: it reads. [`layout`] has the offsets and checks them against the running
//! interpreter before anybody relies on them; [`thread`] and [`frame`] walk thread states and frames with the
//! GIL held; `gil` is the GIL itself, which knows its holder; [`code`] decodes exception and location tables;
//! [`snapshot`] does the walk without the GIL, for reports about a process that no longer answers.

pub(crate) mod code;
pub(crate) mod frame;
pub(crate) mod gil;
pub(crate) mod layout;
mod memory;
pub mod snapshot;
pub(crate) mod thread;

//! vethwatch: packets of containers go in, findings come out.
//!
//! The engine (everything up to [`engine`]) holds no clock, thread, socket or file: [`engine::Engine`]
//! takes frames with their timestamps and hands records to a [`record::Output`]. The same input gives
//! the same records, byte for byte. The shell (feature `live`) reads captures, writes records and
//! talks to the operating system.
//!
//! Modules stand in the order in which a packet passes them.

pub mod time;
pub mod event;
pub mod bounded;
pub mod decode;
pub mod flow;
pub mod proto;
pub mod container;
pub mod baseline;
pub mod detect;
pub mod state;
pub mod alert;
pub mod allow;
pub mod record;
pub mod config;
pub mod engine;
#[cfg(feature = "live")]
pub mod capture;
#[cfg(feature = "live")]
pub mod attribution;
#[cfg(feature = "live")]
pub mod output;
#[cfg(feature = "live")]
pub mod cli;
#[cfg(feature = "live")]
pub mod modes;

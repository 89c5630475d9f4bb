//! Requests and answers between agents, over mutual TLS on one port.
//!
//! [`Server`] takes connections and hands each request, with whom it came from, to a [`Handler`]. [`Client`] keeps one
//! connection for each address and [`Class`], shared by all its callers. Both sides notice within seconds that the
//! other is gone; everything has a limit; and an error says whether the request may have been carried out.
//!
//! What never belongs here: what a method means, what its body holds, and which role may call it.

mod class;
mod client;
mod dial;
mod error;
mod frame;
mod handler;
mod limits;
mod reader;
mod refused;
mod server;
pub mod testing;
mod writer;

pub use class::{Class, Method};
pub use client::Client;
pub use dial::{Dial, Stream, Tcp};
pub use error::CallError;
pub use frame::MAX_BODY;
pub use handler::Handler;
pub use limits::{ClientLimits, ServerLimits};
pub use refused::{Code, Refused};
pub use server::{Admit, Server};

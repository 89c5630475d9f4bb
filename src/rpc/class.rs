//! What is called, and on which connection.

/// What is asked for. The numbers are the callers' and handlers' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

/// Calls of one class share a connection to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Small and urgent: heartbeats, votes, entries of the log.
    Control,
    /// Large and patient: snapshots. They hold up nothing but each other.
    Bulk,
}

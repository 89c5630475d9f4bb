//! A histogram that counts nothing.
//!
//! openraft keeps statistics about itself that nobody here reads. The crate that it keeps them with builds tables for all
//! sixteen of its resolutions at the first use, of which openraft needs one: 26 MB that stay resident, and 15 ms of each
//! start. That is more than the rest of a server at rest. `[patch.crates-io]` in the workspace's manifest puts this in
//! its place; it has exactly the surface that openraft uses, so a newer openraft that uses more does not build until
//! somebody looks here. Remove it when the tables are built on demand upstream.
//!
//! What never belongs here: anything that works.

use std::marker::PhantomData;

/// Takes values and forgets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// An empty histogram, which it stays.
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// Forgets a value.
    pub fn record(&mut self, _value: u64) {}

    /// Forgets a value that was seen several times.
    pub fn record_n(&mut self, _value: u64, _times: u64) {}

    /// The statistics of nothing.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The statistics of nothing: all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it: percentiles")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl std::fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not counted")
    }
}

/// A chart of nothing.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty chart, which it stays.
    pub fn new() -> Self {
        Self
    }

    /// Forgets a histogram.
    #[must_use]
    pub fn add(self, _name: impl Into<String>, _histogram: Histogram) -> Self {
        self
    }
}

impl std::fmt::Display for AsciiChart {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

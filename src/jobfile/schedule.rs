//! When a periodic job runs: its cron expressions in its time zone.

mod cron;

use croner::Cron;
use jiff::Zoned;
use jiff::tz::TimeZone;
use model::{Periodic, Timestamp};

pub(crate) use cron::translate;

/// The times of a periodic job. Where a clock is put forward, what was to run in the hour that is left out runs once, right
/// after it; where it is put back, what runs at set times runs in the first of the two hours alone.
#[derive(Clone, Debug)]
pub struct Schedule {
    crons: Vec<Cron>,
    zone: TimeZone,
}

impl Schedule {
    /// The schedule of a job. One without expressions has no times.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn of(periodic: &Periodic) -> Result<Self, String> {
        let single = std::iter::once(&periodic.spec).filter(|spec| !spec.is_empty());
        let crons = single.chain(&periodic.specs).map(|spec| parse(spec)).collect::<Result<_, _>>();
        Ok(Self { crons: crons?, zone: zone(&periodic.time_zone)? })
    }

    /// The first time after `after`; of several expressions the earliest.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let start = self.zoned(after)?;
        let times = self.crons.iter().filter_map(|cron| {
            let found = cron.find_next_occurrence(&start, false).ok()?;
            // What it finds has whole seconds, so that it may be the one that has begun.
            Some(timestamp(&found)).filter(|found| *found > after)
        });
        times.min()
    }

    /// The last time up to `until`, that included.
    pub fn latest(&self, until: Timestamp) -> Option<Timestamp> {
        let start = self.zoned(until)?;
        let times = self.crons.iter().filter_map(|cron| {
            let found = cron.find_previous_occurrence(&start, true).ok()?;
            Some(timestamp(&found)).filter(|found| *found <= until)
        });
        times.max()
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        let at = jiff::Timestamp::from_second(at.whole_seconds()).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

fn timestamp(at: &Zoned) -> Timestamp {
    Timestamp::from_secs(at.timestamp().as_second())
}

fn parse(spec: &str) -> Result<Cron, String> {
    let wrong = |why: String| format!("`{spec}` is not a cron expression: {why}");
    translate(spec)
        .map_err(wrong)?
        .parse()
        .map_err(|error: croner::errors::CronError| wrong(error.to_string()))
}

/// Nomad takes `UTC`, `Local` and nothing beside the names of the database.
fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::try_system().unwrap_or(TimeZone::UTC)),
        _ => TimeZone::get(name).map_err(|_| {
            let has_none = jiff::tz::db().available().next().is_none();
            let install = if has_none { "; this machine has none: install tzdata" } else { "" };
            format!("there is no time zone `{name}`{install}")
        }),
    }
}

#[cfg(test)]
mod tests;

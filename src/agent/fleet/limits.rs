//! What Git hosts said to any node about asking too often. The leader collects it, and tells everybody with its answers
//! to their heartbeats. Pure but for its lock: time is handed in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Timestamp;
use server::HostLimits;

use super::messages::HostSaid;

/// How long a host is left alone that does not say it.
const UNSAID: Duration = Duration::from_secs(60);
/// The longest that a host, or whoever speaks of one, can make everybody stay away.
const LONGEST: Duration = Duration::from_secs(3600);
/// For how long after the last refusal looks stay rarer.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Refusals in a row that are counted.
const MOST_REFUSALS: u32 = 6;
/// Hosts that are remembered; a fleet follows a few.
const MOST_HOSTS: usize = 64;

/// What is known of the hosts.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<BTreeMap<String, HostLimits>>);

impl Hosts {
    /// A host refused somebody: all are slower.
    pub(crate) fn refused(&self, host: &str, retry_after: Option<Duration>, now: Timestamp) {
        let mut hosts = self.lock(now);
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            return;
        }
        let known = hosts.entry(host.to_owned()).or_default();
        // Answers to what was asked before the others knew are one refusal.
        if known.until.is_none_or(|until| until <= now) {
            known.refusals = (known.refusals + 1).min(MOST_REFUSALS);
        }
        let until = now + retry_after.unwrap_or(UNSAID).min(LONGEST);
        known.until = Some(known.until.map_or(until, |before| before.max(until)));
    }

    /// What the leader says holds.
    pub(crate) fn adopt(&self, said: Vec<HostSaid>, now: Timestamp) {
        let mut hosts = self.lock(now);
        for HostSaid { host, wait, refusals } in said.into_iter().take(MOST_HOSTS) {
            let until = now + wait.min(LONGEST);
            let limits = HostLimits { until: Some(until), refusals: refusals.min(MOST_REFUSALS) };
            hosts.insert(host, limits);
        }
    }

    /// What others have to know; mostly nothing. Waits and not times, because clocks differ.
    pub(crate) fn said(&self, now: Timestamp) -> Vec<HostSaid> {
        let hosts = self.lock(now);
        let said = |(host, limits): (&String, &HostLimits)| {
            let until = limits.until.filter(|until| *until > now)?;
            Some(HostSaid { host: host.clone(), wait: until.since(now), refusals: limits.refusals })
        };
        hosts.iter().filter_map(said).collect()
    }

    /// How a host is to be treated.
    pub(crate) fn of(&self, host: &str, now: Timestamp) -> HostLimits {
        self.lock(now).get(host).copied().unwrap_or_default()
    }

    fn lock(&self, now: Timestamp) -> std::sync::MutexGuard<'_, BTreeMap<String, HostLimits>> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, limits| limits.until.is_some_and(|until| until + REMEMBERED > now));
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_to_one_slows_all_for_a_while() {
        let (leader, node) = (Hosts::default(), Hosts::default());
        let seconds = |after: u64| Timestamp::from_secs(1_000) + Duration::from_secs(after);
        leader.refused("git", Some(Duration::from_secs(120)), seconds(0));
        leader.refused("git", None, seconds(1));
        // The node's clock is an hour behind.
        let behind = Timestamp::from_secs(1);
        node.adopt(leader.said(seconds(20)), behind);
        let limits = node.of("git", behind);
        assert_eq!(limits.until, Some(behind + Duration::from_secs(100)));
        assert_eq!(limits.refusals, 1, "what came together is one");
        assert_eq!(node.of("other", behind), HostLimits::default());
        assert!(leader.said(seconds(120)).is_empty());
        leader.refused("git", None, seconds(130));
        assert_eq!(leader.of("git", seconds(500)).refusals, 2);
        assert_eq!(leader.of("git", seconds(791)), HostLimits::default(), "forgotten");
    }

    #[test]
    fn nobody_can_make_all_stay_away_for_long_or_fill_the_memory() {
        let hosts = Hosts::default();
        let now = Timestamp::from_secs(1_000);
        for number in 0..1_000 {
            hosts.refused(&format!("h{number}"), Some(Duration::MAX), now);
        }
        let said = hosts.said(now);
        assert_eq!(said.len(), MOST_HOSTS);
        assert!(said.iter().all(|said| said.wait <= LONGEST));
    }
}

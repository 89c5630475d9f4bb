//! Stopping by itself what must not run while the servers do not know of it.

use model::Timestamp;

use super::{Runner, rules};
use crate::contact::{Silence, silence};

impl Runner {
    /// Stops the allocation if the servers were silent for longer than its group bears. Where nobody else decides, as on
    /// an agent that is alone, nobody can be missed.
    pub(super) fn heed_silence(&mut self, now: Timestamp) {
        let Some(Silence::TooLong) = self.silence(now) else { return };
        if self.record.lifecycle.cut_off(now) {
            tracing::warn!(alloc = %self.record.alloc.id, "stopped: no server was heard for too long");
        }
    }

    /// When it is to be looked again.
    pub(super) fn silence_ends(&self, now: Timestamp) -> Option<Timestamp> {
        match self.silence(now)? {
            Silence::BearableUntil(until) => Some(until),
            Silence::TooLong => None,
        }
    }

    fn silence(&self, now: Timestamp) -> Option<Silence> {
        let contact = self.shared.options.contact.as_ref()?;
        if self.record.lifecycle.is_over() {
            return None;
        }
        let group = rules(&self.record, &self.record.job)?.group;
        let bearable = group.disconnection()?.stop_on_client_after?;
        contact.want();
        Some(silence(contact.heard(), bearable, now))
    }
}

//! How placement chooses.

use model::SchedulerConfig;

use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    pub(super) fn set_scheduler_config(
        &mut self,
        config: &SchedulerConfig,
        if_index: Option<u64>,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let known = self.scheduler;
        if let Some(expected) = if_index.filter(|index| *index != known.modify_index) {
            return Err(Rejection::Conflict(format!(
                "the scheduler configuration was to be changed as of index {expected}, but it is that of index {}; \
                 look at it again",
                known.modify_index
            )));
        }
        let created = if known.create_index == 0 { self.index } else { known.create_index };
        self.scheduler =
            SchedulerConfig { create_index: created, modify_index: self.index, ..*config };
        self.indexes.scheduler = self.index;
        events.push(Event::Scheduler);
        Ok(())
    }
}

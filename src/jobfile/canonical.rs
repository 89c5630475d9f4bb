//! From the evaluated tree to the canonical job: Nomad's API JSON, the same bytes for the same meaning.
//!
//! Three steps, each over plain JSON: what the file says is read by the table in `schema` (`read`); it is moved, merged
//! and defaulted as Nomad's passes do (`settle`); what nobody said is filled in from the table (`fill`). Every object
//! carries with it where it stands in the file, until the last step takes that away.

mod fill;
#[cfg(test)]
mod golden;
mod origin;
mod places;
mod read;
mod settle;

use model::Job;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::report::{Fault, Sink};
use crate::schema;
use crate::tree::Block;
use crate::yaml::Node;

use fill::Filled;
pub(crate) use origin::Origin;
pub(crate) use places::Places;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A job and where its parts stand in the file.
pub(crate) struct Canonical {
    pub(crate) job: Job,
    pub(crate) places: Places,
    /// Where each value came from, if that was asked for.
    pub(crate) origins: Vec<Origin>,
}

/// Reads the `job` block. Where there are mistakes, they have been reported, and the job is as good as it can be for
/// finding more of them.
pub(crate) fn job(
    block: &Block<crate::expr::Value>,
    explain: bool,
    sink: &Sink<'_>,
) -> Option<Canonical> {
    let mut reading = read::Reading::new(sink);
    let said = reading.job(block);
    finish(said, reading.into_places(), explain, sink)
}

/// Reads a job as Nomad's API writes it. See [`job`].
pub(crate) fn api_job(node: &Node, explain: bool, sink: &Sink<'_>) -> Option<Canonical> {
    let mut reading = read::Reading::new(sink);
    let said = reading.api_job(node);
    finish(said, reading.into_places(), explain, sink)
}

/// What becomes of an object with the names of Nomad's API: settled, and filled with defaults.
pub(crate) fn complete(mut said: Object) -> Object {
    settle::settle(&mut said);
    Object::deserialize(Filled::new(said, schema::job())).expect("an object has the names of texts")
}

fn finish(
    mut said: Object,
    mut places: Places,
    explain: bool,
    sink: &Sink<'_>,
) -> Option<Canonical> {
    settle::settle(&mut said);
    places.find_groups(&said);
    let origins = if explain { origin::origins(&said) } else { Vec::new() };
    match Job::deserialize(Filled::new(said, schema::job())) {
        Ok(job) => Some(Canonical { job, places, origins }),
        Err(error) if sink.has_errors() => {
            // What could not be read is why; it has been said.
            drop(error);
            None
        }
        Err(error) => {
            let message = format!("this job cannot be brought into its canonical form: {error}");
            sink.error(Fault::new("wrong-type", places.at("job"), message));
            None
        }
    }
}

//! Why nodes will not do.

use model::PlacementFailure;

use super::Request;
use super::asked::Asked;
use super::columns::Columns;
use super::own::Own;
use super::ranking::{Ranking, verdict};
use crate::volumes::offered;

/// Why a node will not do.
pub(super) enum Refusal {
    /// It must not.
    Filtered(String),
    /// It has no room.
    Exhausted(String),
}

impl Refusal {
    pub(super) fn counted(self) -> PlacementFailure {
        let mut failure = PlacementFailure::default();
        match self {
            Self::Filtered(reason) => failure.filtered.insert(reason, 1),
            Self::Exhausted(reason) => failure.exhausted.insert(reason, 1),
        };
        failure
    }
}

/// Whether one node would do now, and why not.
pub(super) fn refusal(
    columns: &Columns,
    ranking: &Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
    at: usize,
) -> Result<(), Refusal> {
    let Some(node) = columns.nodes.get(at) else {
        return Err(Refusal::Filtered("the node is gone".to_owned()));
    };
    if !ranking.is_feasible(at) {
        let reason = match verdict(asked, node) {
            Err(reason) => reason,
            Ok(()) => "the node takes nothing".to_owned(),
        };
        return Err(Refusal::Filtered(reason));
    }
    if own.is_closed(at) {
        return Err(Refusal::Filtered("its room is needed by a more important job".to_owned()));
    }
    if own.is_taken(at) {
        return Err(Refusal::Filtered("distinct_hosts".to_owned()));
    }
    if let Some(limit) = own.limit_reached(ranking.domains(at)) {
        let property = asked.demands.distinct_properties.get(limit);
        return Err(Refusal::Filtered(property.map_or_else(String::new, |p| p.text.clone())));
    }
    let mut volumes = asked.volumes.iter().filter(|volume| volume.per_alloc);
    volumes
        .try_for_each(|volume| offered(volume, request.index, node))
        .map_err(Refusal::Filtered)?;
    let short = columns.fits(at, asked, request.index);
    short.map_err(|short| Refusal::Exhausted(short.as_str().to_owned()))
}

/// Why no node will do, counted over all.
pub(super) fn failure(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
) -> PlacementFailure {
    let mut failure = PlacementFailure::clone(&ranking.refused());
    failure.exhausted.clear();
    failure.unplaced = 1;
    for at in ranking.feasible() {
        match refusal(columns, ranking, own, asked, request, at) {
            Err(Refusal::Filtered(reason)) => *failure.filtered.entry(reason).or_default() += 1,
            Err(Refusal::Exhausted(short)) => *failure.exhausted.entry(short).or_default() += 1,
            Ok(()) => {}
        }
    }
    failure
}

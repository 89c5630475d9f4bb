//! Allocations as bytes hold them: what one says like the one before it is left out.
//!
//! Allocations that were placed together have the same commit, explain themselves with the same best nodes and refusals,
//! and differ in a few dozen bytes. Read back, they share what they had in common. Lists without marks, as earlier
//! versions wrote them, are read as they are.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use model::{Allocation, Explanation};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Job, its version, group and commit.
const JOB: u8 = 1;
/// Why it exists.
const REASON: u8 = 2;
/// The nodes that were refused.
const FILTERED: u8 = 4;
/// The best nodes.
const BEST: u8 = 8;

/// What of `alloc` is as in `before`.
fn likeness(alloc: &Allocation, before: &Allocation) -> u8 {
    let mut marks = 0;
    if alloc.job == before.job
        && alloc.job_version == before.job_version
        && alloc.group == before.group
        && alloc.origin == before.origin
    {
        marks |= JOB;
    }
    if let (Some(own), Some(before)) = (&alloc.explanation, &before.explanation) {
        for (mark, alike) in [
            (REASON, own.reason == before.reason),
            (FILTERED, own.filtered == before.filtered),
            (BEST, own.best == before.best),
        ] {
            marks |= if alike { mark } else { 0 };
        }
    }
    marks
}

/// The allocation without what is marked.
fn brief(alloc: &Allocation, marks: u8, nothing: &Allocation) -> Allocation {
    let mut alloc = alloc.clone();
    if marks & JOB != 0 {
        alloc.job = nothing.job.clone();
        alloc.job_version = nothing.job_version;
        alloc.group = Arc::clone(&nothing.group);
        alloc.origin = Arc::clone(&nothing.origin);
    }
    if marks & (REASON | FILTERED | BEST) != 0
        && let (Some(own), Some(nothing)) = (&alloc.explanation, &nothing.explanation)
    {
        let kept = |mark| marks & mark == 0;
        alloc.explanation = Some(Arc::new(Explanation {
            reason: Arc::clone(if kept(REASON) { &own.reason } else { &nothing.reason }),
            filtered: Arc::clone(if kept(FILTERED) { &own.filtered } else { &nothing.filtered }),
            score: own.score.clone(),
            best: own.best.clone().filter(|_| kept(BEST)),
        }));
    }
    alloc
}

/// Puts back what is marked.
fn restore(alloc: &mut Allocation, marks: u8, before: &Allocation) {
    if marks & JOB != 0 {
        alloc.job = before.job.clone();
        alloc.job_version = before.job_version;
        alloc.group = Arc::clone(&before.group);
        alloc.origin = Arc::clone(&before.origin);
    }
    if let (Some(own), Some(before)) = (&mut alloc.explanation, &before.explanation) {
        let own = Arc::make_mut(own);
        if marks & REASON != 0 {
            own.reason = Arc::clone(&before.reason);
        }
        if marks & FILTERED != 0 {
            own.filtered = Arc::clone(&before.filtered);
        }
        if marks & BEST != 0 {
            own.best.clone_from(&before.best);
        }
    }
}

/// Makes the list one after the other, so that it is never there twice.
struct Briefs<'a, T>(&'a [T], &'a [u8]);

impl<T: AsRef<Allocation>> Serialize for Briefs<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let nothing = Allocation { explanation: Some(Arc::default()), ..Allocation::default() };
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        for (alloc, marks) in self.0.iter().zip(self.1) {
            match marks {
                0 => list.serialize_element(alloc.as_ref())?,
                _ => list.serialize_element(&brief(alloc.as_ref(), *marks, &nothing))?,
            }
        }
        list.end()
    }
}

pub(crate) fn serialize<T: AsRef<Allocation>, S: Serializer>(
    allocs: &[T],
    to: S,
) -> Result<S::Ok, S::Error> {
    let like = allocs.windows(2).map(|pair| match pair {
        [before, alloc] => likeness(alloc.as_ref(), before.as_ref()),
        _ => 0,
    });
    let marks: Vec<u8> = std::iter::once(0).chain(like).take(allocs.len()).collect();
    let mut list = to.serialize_struct("Placed", 2)?;
    list.serialize_field("Marks", &marks)?;
    list.serialize_field("Allocs", &Briefs(allocs, &marks))?;
    list.end()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Stored {
    marks: Vec<u8>,
    allocs: Vec<Allocation>,
}

struct Read<T>(PhantomData<T>);

impl<'de, T: From<Allocation>> Visitor<'de> for Read<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allocations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let allocs = Vec::<Allocation>::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(allocs.into_iter().map(T::from).collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Stored { marks, mut allocs } = Stored::deserialize(MapAccessDeserializer::new(map))?;
        if marks.len() != allocs.len() || marks.first().is_some_and(|first| *first != 0) {
            return Err(A::Error::custom("the marks do not fit the allocations"));
        }
        for (at, marks) in marks.iter().enumerate().skip(1) {
            let (before, rest) = allocs.split_at_mut(at);
            if let (Some(before), Some(alloc)) = (before.last(), rest.first_mut()) {
                restore(alloc, *marks, before);
            }
        }
        Ok(allocs.into_iter().map(T::from).collect())
    }
}

pub(crate) fn deserialize<'de, T: From<Allocation>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    from.deserialize_any(Read(PhantomData))
}

#[cfg(test)]
mod tests {
    use model::{NodeScore, Origin, PlacementFailure};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] Vec<Allocation>);

    fn placed(job: &str, index: u32, best: f64) -> Allocation {
        let filtered = [("${attr.os} = linux".to_owned(), 3)].into();
        let score = |total| NodeScore { total, ..NodeScore::default() };
        Allocation {
            index,
            job: job.into(),
            job_version: 2,
            group: job.into(),
            origin: Arc::new(Origin {
                repo: "infra".into(),
                path: job.into(),
                ..Origin::default()
            }),
            explanation: Some(Arc::new(Explanation {
                reason: "new".into(),
                filtered: Arc::new(PlacementFailure { filtered, ..PlacementFailure::default() }),
                score: Some(score(0.5)),
                best: Some(Arc::new(vec![score(best); 5])),
            })),
            ..Allocation::default()
        }
    }

    fn there_and_back(holder: &Holder) -> (usize, Holder) {
        let bytes = rmp_serde::to_vec_named(holder).expect("has bytes");
        (bytes.len(), rmp_serde::from_slice(&bytes).expect("is read"))
    }

    #[test]
    fn what_was_placed_together_is_written_once_and_shared() {
        let many: Vec<_> = (0..100).map(|index| placed("web", index, 0.9)).collect();
        let one = Holder(many[..1].to_vec());
        let all = Holder(many);
        let ((single, _), (hundred, back)) = (there_and_back(&one), there_and_back(&all));
        assert_eq!(back, all);
        assert!(hundred < single * 50, "{hundred} bytes for a hundred of {single}");
        let best = |at: usize| back.0[at].explanation.as_ref().and_then(|why| why.best.as_ref());
        assert!(best(0).zip(best(99)).is_some_and(|(first, last)| Arc::ptr_eq(first, last)));
        assert!(Arc::ptr_eq(&back.0[0].origin, &back.0[99].origin));
    }

    #[test]
    fn what_differs_is_kept() {
        let bare = Allocation { explanation: None, ..placed("web", 1, 0.9) };
        let unlike = Allocation { explanation: Some(Arc::default()), ..placed("web", 2, 0.9) };
        let mixed = Holder(vec![
            placed("web", 0, 0.9),
            bare.clone(),
            unlike,
            placed("web", 3, 0.8),
            placed("db", 0, 0.8),
            Allocation::default(),
            bare,
        ]);
        assert_eq!(there_and_back(&mixed).1, mixed);
        assert_eq!(there_and_back(&Holder(Vec::new())).1, Holder(Vec::new()));
    }

    #[test]
    fn lists_of_earlier_versions_are_read_and_false_marks_are_not() {
        let all = vec![placed("web", 0, 0.9), placed("web", 1, 0.9)];
        let old = rmp_serde::to_vec_named(&all).expect("has bytes");
        assert_eq!(rmp_serde::from_slice::<Holder>(&old).expect("is read").0, all);
        for marks in [&[0_u8][..], &[1, 0], &[0, 0, 0]] {
            #[derive(Serialize)]
            #[serde(rename_all = "PascalCase")]
            struct False<'a> {
                marks: &'a [u8],
                allocs: &'a [Allocation],
            }
            let bytes = rmp_serde::to_vec_named(&False { marks, allocs: &all });
            let read = rmp_serde::from_slice::<Holder>(&bytes.expect("has bytes"));
            assert!(read.expect_err("refused").to_string().contains("marks"));
        }
    }
}

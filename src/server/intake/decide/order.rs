//! Files that cannot be used because of the order that they ask for: they name a job that nobody declares, or close a
//! circle. They keep what they last said, as one that cannot be read does (law 3).

use std::collections::BTreeMap;

use jobfile::{FileOrder, check_order};
use model::{Diagnostic, JobId};
use state::{FileOutcome, FileRecord};

use super::{ReadFile, Reading};

/// Turns the outcomes of files that are at fault into broken ones. A file that was not read now may come to be at fault
/// because another one is gone.
pub(super) fn refuse<'a>(
    known: &BTreeMap<String, FileRecord>,
    reading: &'a Reading,
    owners: &BTreeMap<JobId, String>,
    outcomes: &mut BTreeMap<&'a str, FileOutcome>,
) {
    let mut orders: BTreeMap<String, FileOrder<'_>> = BTreeMap::new();
    for (path, file) in reading {
        let before = known.get(path).map_or(&[][..], |file| &file.dependencies);
        let now = match (file, outcomes.get(path.as_str())) {
            (ReadFile::Outside, _) => continue,
            (ReadFile::Same, _) | (_, None | Some(FileOutcome::Broken { .. })) => before,
            (ReadFile::Parsed { reading, .. }, Some(_)) => &reading.dependencies,
        };
        if !(now.is_empty() && before.is_empty()) {
            orders.insert(path.clone(), FileOrder { now, before });
        }
    }
    if orders.is_empty() {
        return;
    }
    let mut faults = check_order(&orders, |job| owners.contains_key(job));
    for (path, file) in reading {
        let Some(found) = faults.remove(path) else { continue };
        let (blob, said): (_, &[Diagnostic]) = match (file, outcomes.get(path.as_str())) {
            (ReadFile::Outside, _) => continue,
            (ReadFile::Same, _) => match known.get(path) {
                Some(file) => (&file.blob, &file.problems),
                None => continue,
            },
            // What is wrong with it already comes first.
            (_, Some(FileOutcome::Broken { .. })) => continue,
            (ReadFile::Parsed { blob, problems, .. }, _) => (blob, problems),
        };
        let problems = said.iter().cloned().chain(found.into_iter().map(until_then)).collect();
        outcomes.insert(path, FileOutcome::Broken { blob: blob.clone(), problems });
    }
}

fn until_then(found: Diagnostic) -> Diagnostic {
    let help = format!("{}; until then this file is not used, and what ran goes on", found.help);
    Diagnostic { help, ..found }
}

//! From the canonical job back to a job file: only what must be said, in the order in which people write it. Read again
//! it is the same job, byte for byte of its canonical form.
//!
//! Three steps: what inheritance and defaults give is left out (`sparse`); the rest becomes attributes and blocks by the
//! table in `schema` (`item`); these are written in one of the languages (`hcl`, `yaml`).

mod hcl;
mod item;
mod sparse;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

use model::Job;
use model::wire::JobDocument;

/// The language of a job file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Nomad's own, in its canonical style.
    Hcl,
    /// The same names in YAML.
    Yaml,
    /// Nomad's API: `{"Job": {…}}`, with everything that a job says or leaves to its defaults.
    ApiJson,
}

/// Writes a job as a file of this form, with a line's end behind the last line.
///
/// The job must be one that a file has come to. Comments, variables and locals are no part of it.
pub fn print(job: &Job, form: Form) -> String {
    if form == Form::ApiJson {
        let mut text = serde_json::to_string_pretty(&JobDocument::new(job)).unwrap_or_default();
        text.push('\n');
        return text;
    }
    let block = item::job(sparse::sparse(job));
    match form {
        Form::Yaml => yaml::write(&block),
        Form::Hcl | Form::ApiJson => hcl::write(&block),
    }
}

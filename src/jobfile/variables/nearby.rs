//! The vars files that apply to a job file without being named: those beside it and in the folders above it, up to the
//! root of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::vars_file::VarsFile;

/// What the name of a vars file ends in.
const ENDING: &str = ".vars.hcl";

/// Whether a file of this name holds values for variables: `NAME.vars.hcl`, and for one environment
/// `NAME.ENVIRONMENT.vars.hcl`.
pub fn is_vars_file_name(path: &str) -> bool {
    stem(path).is_some()
}

/// The name without its ending.
fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(ENDING).filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
}

/// The environment that a vars file is for; none for one that is for all, and for other files.
pub fn environment_of_vars_file(path: &str) -> Option<&str> {
    stem(path)?.rsplit_once('.').map(|(_, environment)| environment)
}

/// Those of `paths` that apply to the job file `job`, in the order in which they count: nearer after farther, and in one
/// folder those of the environment after those of all, each by name.
pub fn applying_vars_files<'a>(
    paths: impl IntoIterator<Item = &'a str>,
    job: &str,
    environment: Option<&str>,
) -> Vec<&'a str> {
    let mut found: Vec<(usize, bool, &str)> = paths
        .into_iter()
        .filter(|path| is_vars_file_name(path))
        .filter_map(|path| {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let rest = job.strip_prefix(folder)?;
            let above = folder.is_empty() || rest.starts_with('/');
            let only = environment_of_vars_file(path);
            let applies = above && (only.is_none() || only == environment);
            applies.then_some((folder.len(), only.is_some(), path))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// The vars files of a repository, each read once for all job files.
#[derive(Clone, Debug, Default)]
pub struct VarsFiles {
    files: BTreeMap<String, Arc<VarsFile>>,
}

impl VarsFiles {
    /// Adds a file, by its path from the repository's root. One whose name is not that of a vars file never applies.
    pub fn insert(&mut self, path: &str, bytes: &[u8]) {
        self.files.insert(path.to_owned(), Arc::new(VarsFile::read(path, bytes)));
    }

    /// Adds a file that cannot be read, and why: the job files that it applies to cannot be read either.
    pub fn insert_refused(&mut self, path: &str, why: model::Diagnostic) {
        self.files.insert(path.to_owned(), Arc::new(VarsFile::refused(path, why)));
    }

    /// Whether a file is there.
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The names that each file sets, each with a finding that says where and nothing else.
    pub fn names(&self) -> impl Iterator<Item = (&str, Vec<(&str, model::Diagnostic)>)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file.names()))
    }

    /// What is wrong with the files themselves.
    pub fn problems(&self) -> impl Iterator<Item = &model::Diagnostic> {
        self.files.values().flat_map(|file| &file.problems)
    }

    /// Files that are for all environments and are named as if they were for one: `prod.vars.hcl` where there is also a
    /// `web.prod.vars.hcl`, or where `chosen` is `prod`.
    pub fn misleading(&self, chosen: Option<&str>) -> Vec<model::Diagnostic> {
        let paths = || self.files.keys().map(String::as_str);
        let known = paths().filter_map(environment_of_vars_file).chain(chosen);
        let known: BTreeSet<&str> = known.collect();
        let misleads = |path: &&str| stem(path).is_some_and(|stem| known.contains(stem));
        let warning = |path: &str| model::Diagnostic {
            severity: model::Severity::Warning,
            code: "misleading-name".to_owned(),
            path: path.to_owned(),
            message: "this file counts in every environment, whatever its name says".to_owned(),
            help: format!(
                "for one environment it is named NAME.{}",
                path.rsplit('/').next().unwrap_or(path)
            ),
            ..model::Diagnostic::default()
        };
        paths().filter(misleads).map(warning).collect()
    }

    pub(super) fn applying(&self, job: &str, environment: Option<&str>) -> Vec<&VarsFile> {
        applying_vars_files(self.files.keys().map(String::as_str), job, environment)
            .into_iter()
            .filter_map(|path| self.files.get(path).map(AsRef::as_ref))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is_for() {
        for (path, environment) in [
            ("all.vars.hcl", None),
            ("a/b.prod.vars.hcl", Some("prod")),
            ("a.b.c.vars.hcl", Some("c")),
        ] {
            assert!(is_vars_file_name(path), "{path}");
            assert_eq!(environment_of_vars_file(path), environment, "{path}");
        }
        for path in ["vars.hcl", ".vars.hcl", "a/.x.vars.hcl", "a.vars.hcl.bak", "a.vars.json"] {
            assert!(!is_vars_file_name(path), "{path}");
        }
    }

    #[test]
    fn a_name_that_misleads_is_told() {
        let mut vars = VarsFiles::default();
        for path in ["a/prod.vars.hcl", "web.prod.vars.hcl", "test.vars.hcl", "web.vars.hcl"] {
            vars.insert(path, b"");
        }
        let paths = |chosen| {
            let found = vars.misleading(chosen).into_iter().map(|found| found.path);
            found.collect::<Vec<_>>()
        };
        assert_eq!(paths(None), ["a/prod.vars.hcl"]);
        assert_eq!(paths(Some("test")), ["a/prod.vars.hcl", "test.vars.hcl"]);
    }

    #[test]
    fn nearer_files_count_more_and_those_of_the_environment_most() {
        let paths = [
            "jobs/web/z.vars.hcl",
            "z.vars.hcl",
            "a.prod.vars.hcl",
            "jobs/b.vars.hcl",
            "jobs/a.vars.hcl",
            "jobs/a.prod.vars.hcl",
            "jobs/a.test.vars.hcl",
            "jobs/website/x.vars.hcl",
            "other/x.vars.hcl",
        ];
        let applying = |environment| applying_vars_files(paths, "jobs/web/a.hcl", environment);
        let plain = ["z.vars.hcl", "jobs/a.vars.hcl", "jobs/b.vars.hcl", "jobs/web/z.vars.hcl"];
        assert_eq!(applying(None), plain);
        assert_eq!(
            applying(Some("prod")),
            [
                "z.vars.hcl",
                "a.prod.vars.hcl",
                "jobs/a.vars.hcl",
                "jobs/b.vars.hcl",
                "jobs/a.prod.vars.hcl",
                "jobs/web/z.vars.hcl"
            ]
        );
        assert_eq!(applying_vars_files(paths, "a.hcl", None), ["z.vars.hcl"]);
    }
}

//! Door: the files of the repository that a job file may read.
//!
//! Paths are written from the repository's root, are normalised, never absolute and never hold `..`: whoever asks has
//! made them so, and whoever answers need not look again. This room opens nothing itself.

/// What a job file can see of the repository it lies in, at one commit.
pub trait Files {
    /// The content of a file; none where there is no such file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, in words that end a message.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// The paths of all files beneath a folder, from the repository's root, sorted. The root is the empty text.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed, in words that end a message.
    fn list(&self, folder: &str) -> Result<Vec<String>, String>;
}

/// No repository: a job that came alone, as through the API. Every read says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Option<Vec<u8>>, String> {
        Err(NO_FILES.to_owned())
    }

    fn list(&self, _folder: &str) -> Result<Vec<String>, String> {
        Err(NO_FILES.to_owned())
    }
}

const NO_FILES: &str =
    "files are not available here, because the job was not read from a repository";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_came_alone_reads_nothing() {
        assert_eq!(NoFiles.read("a"), Err(NO_FILES.to_owned()));
        assert_eq!(NoFiles.list(""), Err(NO_FILES.to_owned()));
    }
}

//! Finding the configuration of `cni/<name>`.

use std::path::{Path, PathBuf};

use super::Chain;
use crate::NetworkError;

/// The largest configuration that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The most files of the folder that are looked at.
const MAX_FILES: usize = 256;

/// The configuration whose own name is `name`; of several, the one whose file comes first.
pub(crate) fn load(dir: &Path, name: &str) -> Result<Chain, NetworkError> {
    let mut damaged = None;
    for path in files(dir) {
        match read(&path) {
            Ok(chain) if chain.name == name => return Ok(chain),
            Ok(_) => {}
            // It may be the one that is meant.
            Err(error) => damaged = Some(error),
        }
    }
    let problem = format!("no file in {} has it as its `name`", dir.display());
    Err(damaged.unwrap_or_else(|| NetworkError::Config { name: name.to_owned(), problem }))
}

/// The names of all configurations that can be read.
pub(crate) fn configurations(dir: &Path) -> Vec<Chain> {
    files(dir).iter().filter_map(|path| read(path).ok()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_config = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ending == "conflist" || ending == "conf" || ending == "json")
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_config)
        .take(MAX_FILES)
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<Chain, NetworkError> {
    let name = path.display().to_string();
    let size =
        std::fs::metadata(path).map_err(|error| NetworkError::system("read", path, error))?.len();
    if size > LIMIT {
        let problem = format!("it has {size} bytes; up to {LIMIT} are read");
        return Err(NetworkError::Config { name, problem });
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| NetworkError::system("read", path, error))?;
    Chain::parse(&name, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_found_by_its_own_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |file: &str, text: &str| std::fs::write(dir.path().join(file), text).expect("written");
        write(
            "10-a.conflist",
            r#"{"name":"a","cniVersion":"0.4.0","plugins":[{"type":"loopback"}]}"#,
        );
        write("20-b.conf", r#"{"name":"b","cniVersion":"0.4.0","type":"ptp"}"#);
        write("notes.txt", "not a configuration");
        assert_eq!(load(dir.path(), "b").expect("found").kind(0), "ptp");
        let error = load(dir.path(), "c").expect_err("not there").to_string();
        assert!(
            error.contains("CNI configuration c") && error.contains("has it as its `name`"),
            "{error}"
        );
        write("30-c.conflist", "{");
        let error = load(dir.path(), "c").expect_err("damaged").to_string();
        assert!(error.contains("30-c.conflist"), "{error}");
        assert_eq!(configurations(dir.path()).len(), 2);
    }
}

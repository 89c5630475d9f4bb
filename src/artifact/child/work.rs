//! From a request to files in the staging folder's `tree`. Runs inside the sandbox; the current directory is the staging
//! folder.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use url::Url;

use super::Progress;
use crate::FetchError;
use crate::checksum::{self, Expected, Wanted};
use crate::failure::shown;
use crate::place::TREE;
use crate::request::{Mode, Request};
use crate::source::{Kind, Source};
use crate::tree::{Bounds, Tree};
use crate::unpack::{Holds, packing, unpack};
use crate::web::{Headers, Web, system_lookup};
use crate::{git, s3};

const DOWNLOAD: &str = "download";

/// Does it. No error holds a secret of the request.
pub(super) fn work(request: &Request, progress: &mut Progress) -> Result<(u64, u64), FetchError> {
    let source = Source::parse(&request.source, &request.options)?;
    let mut secrets = source.secrets();
    secrets.extend(request.headers.values().filter(|value| value.len() > 3).cloned());
    // Of `Bearer abc`, the second word too.
    let words = request.headers.values().filter_map(|value| value.split_once(' '));
    secrets.extend(words.map(|(_, word)| word.trim().to_owned()).filter(|word| word.len() > 3));
    fetch(request, &source, progress).map_err(|error| error.without(&secrets))
}

fn fetch(
    request: &Request,
    source: &Source,
    progress: &mut Progress,
) -> Result<(u64, u64), FetchError> {
    fs::create_dir(TREE).map_err(|error| FetchError::system("making the tree's folder", error))?;
    let limits = &request.limits;
    let limit = match source.kind {
        Kind::Http => (limits.http_read_timeout, "http_read_timeout"),
        Kind::Git => (limits.git_timeout, "git_timeout"),
        Kind::S3 => (limits.s3_timeout, "s3_timeout"),
    };
    let web = Web::new(request.rules.clone(), system_lookup(), limit, request.insecure);
    let headers = headers(request)?;
    if source.kind == Kind::Git {
        return repository(request, source, &web, &headers, progress);
    }
    let name = source.option("filename").map_or_else(|| source.file_name(), str::to_owned);
    let packed = packing(&source.file_name(), source.option("archive"))?;
    if packed.is_none() && (request.mode == Mode::Dir || source.subdir.is_some()) {
        return Err(FetchError::refused(format!(
            "{} is no archive by its name, and a folder is asked for; say what it is with options {{ archive = \"…\" }}",
            source.shown()
        )));
    }
    let expected = expected(source, &web, &headers)?;
    let mut file =
        File::create_new(DOWNLOAD).map_err(|error| FetchError::system("making a file", error))?;
    let (url, headers, follow) = match source.kind {
        Kind::S3 => {
            let object = s3::object(source)?;
            let keys = s3::keys(source, |name| {
                std::env::var(name).ok().filter(|value| !value.is_empty())
            })?;
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let signed = keys
                .map_or_else(|| headers.clone(), |keys| s3::sign(&object, &keys, &now, &headers));
            (object.url, signed, false)
        }
        _ => (address(source)?, headers, true),
    };
    let max_bytes = if limits.http_max_bytes == 0 { u64::MAX } else { limits.http_max_bytes };
    let answer = web.get(url, &headers, follow)?;
    let size = web.save(answer, &mut file, max_bytes, expected.as_ref(), &mut |bytes| {
        progress.received(bytes)
    })?;
    drop(file);
    let single = request.name.clone();
    let Some((packing, stem)) = packed else {
        let name = file_name(single.unwrap_or(name))?;
        let path = Path::new(TREE).join(name);
        fs::set_permissions(DOWNLOAD, fs::Permissions::from_mode(0o644))
            .and_then(|()| fs::rename(DOWNLOAD, path))
            .map_err(|error| FetchError::system("keeping the download", error))?;
        return Ok((1, size));
    };
    let bounds = Bounds {
        entries: limits.decompression_file_count_limit,
        bytes: limits.decompression_size_limit,
        archive: Some(size),
    };
    let mut tree = open_tree(bounds, source.subdir.as_deref())?;
    let stem = match packing.holds {
        Holds::File => file_name(
            single.or_else(|| source.option("filename").map(str::to_owned)).unwrap_or(stem),
        )?,
        _ => stem,
    };
    let archive =
        File::open(DOWNLOAD).map_err(|error| FetchError::system("reading the download", error))?;
    unpack(archive, packing, bounds, &stem, &mut tree)?;
    tree.finish()?;
    only_file(request)?;
    Ok(tree.size())
}

fn repository(
    request: &Request,
    source: &Source,
    web: &Web,
    headers: &Headers,
    progress: &mut Progress,
) -> Result<(u64, u64), FetchError> {
    if source.option("checksum").is_some() {
        return Err(FetchError::refused(
            "a repository has no checksum; name the commit with options { ref = \"…\" }, which is one",
        ));
    }
    let limits = &request.limits;
    // A repository's files were never packed to be small; only their number and size are bounded.
    let bounds = Bounds { entries: 0, bytes: limits.decompression_size_limit, archive: None };
    let mut tree = open_tree(bounds, None)?;
    let max_bytes = if limits.http_max_bytes == 0 { u64::MAX } else { limits.http_max_bytes };
    git::fetch(source, web, headers, max_bytes, &mut tree, &mut |bytes| progress.received(bytes))?;
    tree.finish()?;
    only_file(request)?;
    Ok(tree.size())
}

fn open_tree(bounds: Bounds, within: Option<&str>) -> Result<Tree, FetchError> {
    let root = File::open(TREE).map_err(|error| FetchError::system("opening the tree", error))?;
    Tree::new(OwnedFd::from(root), bounds, within)
}

/// With `mode = "file"` there is one file, and it gets the destination's name.
fn only_file(request: &Request) -> Result<(), FetchError> {
    let Some(name) = request.name.clone().filter(|_| request.mode == Mode::File) else {
        return Ok(());
    };
    let name = file_name(name)?;
    let list = || -> std::io::Result<Vec<_>> { fs::read_dir(TREE)?.take(2).collect() };
    let found = list().map_err(|error| FetchError::system("reading the tree", error))?;
    match found.as_slice() {
        [entry] if entry.file_type().is_ok_and(|kind| kind.is_file()) => {
            fs::rename(entry.path(), Path::new(TREE).join(name))
                .map_err(|error| FetchError::system("naming the file", error))
        }
        _ => Err(FetchError::refused(
            "with mode = \"file\" the archive must hold one file and nothing else; name it with //path, or use mode = \"dir\"",
        )),
    }
}

fn file_name(name: String) -> Result<String, FetchError> {
    let fine = !name.is_empty()
        && name.len() <= 255
        && !matches!(name.as_str(), "." | "..")
        && !name.chars().any(|c| c == '/' || c.is_control());
    if fine {
        return Ok(name);
    }
    Err(FetchError::refused(format!(
        "`{}` cannot name a file; give one with options {{ filename = \"…\" }}",
        shown(name.as_bytes())
    )))
}

fn headers(request: &Request) -> Result<Headers, FetchError> {
    for (name, value) in &request.headers {
        let good_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !good_name || value.chars().any(|c| c.is_control()) {
            return Err(FetchError::refused(format!(
                "the header `{}` is none",
                shown(name.as_bytes())
            )));
        }
    }
    Ok(request.headers.clone().into_iter().collect())
}

fn address(source: &Source) -> Result<Url, FetchError> {
    let user = source.userinfo.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let query = if source.query.is_empty() { String::new() } else { format!("?{}", source.query) };
    let text = format!("{}://{user}{}{}{query}", source.scheme, source.authority, source.path);
    Url::parse(&text)
        .map_err(|error| FetchError::refused(format!("{} is no address: {error}", source.shown())))
}

/// What the download must come to; a list of checksums is fetched under the same rules.
fn expected(source: &Source, web: &Web, headers: &Headers) -> Result<Option<Expected>, FetchError> {
    let Some(option) = source.option("checksum") else { return Ok(None) };
    let list = match checksum::parse(option)? {
        Wanted::Digest(expected) => return Ok(Some(expected)),
        Wanted::List(address) => address,
    };
    let url = Url::parse(&list).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        FetchError::refused("`checksum` is file: and an address over http or https")
    })?;
    // What is meant for the download's host goes to it alone.
    let own = address(source).is_ok_and(|own| own.origin() == url.origin());
    let answer = web.get(url.clone(), if own { headers } else { const { &Vec::new() } }, true)?;
    let mut text = String::new();
    let body = answer.response.into_body().into_with_config().limit(u64::MAX).reader();
    body.take(checksum::MAX_LIST)
        .read_to_string(&mut text)
        .map_err(|error| web.read_failed(&url, &error))?;
    checksum::in_list(&text, &source.file_name()).map(Some)
}

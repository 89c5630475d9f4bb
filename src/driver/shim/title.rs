//! What a process's arguments look like from outside. A fork looks like what it was forked from until it says otherwise,
//! and shims are known by what they are called with.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// The memory that `/proc/<pid>/cmdline` shows.
pub(super) struct Title {
    start: usize,
    length: usize,
}

impl Title {
    /// This process's own.
    pub(super) fn own() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/stat")?;
        Self::parse(&text).ok_or_else(|| io::Error::other("the kernel does not say where it is"))
    }

    /// Fields 48 and 49 of proc(5), counted from the state, which is the third.
    fn parse(stat: &str) -> Option<Self> {
        let (_, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_ascii_whitespace().skip(45);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        let length = end.checked_sub(start).filter(|_| start > 0)?;
        Some(Self { start, length })
    }

    /// Shows `herder` and these arguments, as if it had been called with them.
    pub(super) fn write(&self, arguments: &[&OsStr]) -> io::Result<()> {
        let mut bytes = b"herder\0".to_vec();
        for argument in arguments {
            bytes.extend_from_slice(argument.as_bytes());
            bytes.push(0);
        }
        if bytes.len() > self.length {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        bytes.resize(self.length, 0);
        self.overwrite(&bytes);
        Ok(())
    }

    #[expect(
        unsafe_code,
        reason = "the kernel shows this memory, and there is no call to change it without privileges"
    )]
    fn overwrite(&self, bytes: &[u8]) {
        let target = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel put the arguments there, at the bottom of the stack, writable and for the process's life.
        // This process has one thread, and reads its arguments no more; `bytes` is as long as they are.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_arguments_are_is_what_they_are() {
        let own = Title::own().expect("the kernel says");
        assert_eq!(own.length, fs::read("/proc/self/cmdline").expect("reads").len());
    }

    #[test]
    fn what_is_no_place_is_none() {
        let fields = |start: &str, end: &str| format!("1 (a) S{} {start} {end}", " 0".repeat(44));
        assert!(Title::parse(&fields("4096", "5000")).is_some());
        assert!(Title::parse(&fields("0", "0")).is_none());
        assert!(Title::parse(&fields("5000", "4096")).is_none());
        assert!(Title::parse("1 (a) S 1").is_none());
    }
}

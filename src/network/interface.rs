//! The few things that are asked of the kernel about interfaces. They need no program beside us.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// A socket that requests can be made with, and the interface's name as they take it.
fn request(name: &str) -> io::Result<(UdpSocket, libc::ifreq)> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    #[expect(
        unsafe_code,
        reason = "the kernel's structure of integers and unions; all zero is valid"
    )]
    // SAFETY: every field is a plain integer, pointer or union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` names no interface"),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok((socket, request))
}

/// Brings an interface of this thread's network up or down.
#[expect(unsafe_code, reason = "neither std nor nix sets an interface's flags")]
pub(crate) fn set_up(name: &str, up: bool) -> io::Result<()> {
    let (socket, mut request) = request(name)?;
    // SAFETY: both requests read and write one `ifreq`, which lives through the calls; the flags are the member that
    // they use.
    unsafe {
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request))?;
        let flag = libc::IFF_UP as libc::c_short;
        let flags = request.ifr_ifru.ifru_flags;
        request.ifr_ifru.ifru_flags = if up { flags | flag } else { flags & !flag };
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request))?;
    }
    Ok(())
}

/// The request that removes a bridge, which libc does not name.
const SIOCBRDELBR: libc::c_ulong = 0x89a1;

/// Removes a bridge; one that is not there is fine.
#[expect(unsafe_code, reason = "neither std nor nix removes a bridge")]
pub(crate) fn remove_bridge(name: &str) -> io::Result<()> {
    if !sysfs(name).exists() {
        return Ok(());
    }
    set_up(name, false)?;
    let (socket, request) = request(name)?;
    // SAFETY: the request reads a name that ends with 0 from the pointer; the structure is larger than a name.
    unsafe {
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            SIOCBRDELBR as _,
            request.ifr_name.as_ptr(),
        ))?;
    }
    Ok(())
}

/// What the kernel shows of an interface.
pub(crate) fn sysfs(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// The interfaces that are connected to a bridge; `None` when there is no such bridge.
pub(crate) fn ports_of_bridge(name: &str) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(sysfs(name).join("brif")).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_kernel_is_asked() {
        for name in ["", "sixteen-bytes-xx", "a\0b"] {
            assert_eq!(
                set_up(name, true).expect_err("refused").kind(),
                io::ErrorKind::InvalidInput
            );
        }
        assert!(set_up("no-such-if", true).is_err());
        remove_bridge("no-such-if").expect("gone is fine");
        assert_eq!(ports_of_bridge("lo"), None);
    }
}

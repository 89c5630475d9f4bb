//! The file that a backup of the cluster's state is kept in.
//!
//! Magic (8 bytes), format (4, little-endian as all numbers here), length of the header (4), length of the body (8),
//! SHA-256 over header and body (32), the header (JSON), the body (the state as it writes itself).

use sha2::{Digest as _, Sha256};

use crate::wire::SnapshotInfo;

const MAGIC: &[u8; 8] = b"HERDBACK";
/// The format of the file around the state, which has its own.
const FORMAT: u32 = 1;
const PREFIX: usize = 56;
/// The longest header that is read.
const MAX_HEADER: usize = 1 << 20;

/// Why bytes are not a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFileError {
    /// Something else.
    #[error("this is not a snapshot that `herder operator snapshot save` wrote")]
    NotOne,
    /// Written by a newer Herder.
    #[error(
        "the snapshot has format {0}, but this version reads format {FORMAT}; use a newer herder"
    )]
    TooNew(u32),
    /// Not whole.
    #[error("the snapshot is cut short, or has grown: its length is not the one that it states")]
    Length,
    /// Changed since it was written.
    #[error("the snapshot is damaged: its checksum does not match")]
    Checksum,
    /// The header makes no sense.
    #[error("the snapshot's header cannot be read: {0}")]
    Header(String),
}

/// A snapshot file of a state that is written as `body`.
///
/// # Errors
/// None that a header of this version meets.
pub fn write_snapshot(info: &SnapshotInfo, body: &[u8]) -> Result<Vec<u8>, SnapshotFileError> {
    let header =
        serde_json::to_vec(info).map_err(|error| SnapshotFileError::Header(error.to_string()))?;
    let length = u32::try_from(header.len())
        .map_err(|error| SnapshotFileError::Header(error.to_string()))?;
    let mut file = Vec::with_capacity(PREFIX + header.len() + body.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    file.extend_from_slice(&digest(&header, body));
    file.extend_from_slice(&header);
    file.extend_from_slice(body);
    Ok(file)
}

/// What [`write_snapshot`] wrote: the header, and the state's bytes. Everything is checked.
///
/// # Errors
/// When it is not a snapshot, not whole, or of a newer format.
pub fn read_snapshot(file: &[u8]) -> Result<(SnapshotInfo, &[u8]), SnapshotFileError> {
    let Some((magic, rest)) = file.split_first_chunk::<8>() else {
        return Err(SnapshotFileError::NotOne);
    };
    if magic != MAGIC {
        return Err(SnapshotFileError::NotOne);
    }
    let short = || SnapshotFileError::Length;
    let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    match u32::from_le_bytes(*format) {
        FORMAT => {}
        newer => return Err(SnapshotFileError::TooNew(newer)),
    }
    let (header_length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (body_length, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let (checksum, content) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let header_length = u32::from_le_bytes(*header_length) as usize;
    let (header, body) = content.split_at_checked(header_length).ok_or_else(short)?;
    if body.len() as u64 != u64::from_le_bytes(*body_length) || header_length > MAX_HEADER {
        return Err(short());
    }
    if digest(header, body) != *checksum {
        return Err(SnapshotFileError::Checksum);
    }
    let info = serde_json::from_slice(header)
        .map_err(|error| SnapshotFileError::Header(error.to_string()))?;
    Ok((info, body))
}

fn digest(header: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(body).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_byte_may_change() {
        let info = SnapshotInfo {
            version: "0.1.0".to_owned(),
            index: 7,
            contents: [("Jobs".to_owned(), 3)].into(),
            ..SnapshotInfo::default()
        };
        let file = write_snapshot(&info, b"the state").expect("written");
        assert_eq!(read_snapshot(&file), Ok((info, &b"the state"[..])));
        for at in 0..file.len() {
            let mut broken = file.clone();
            broken[at] ^= 0x20;
            assert!(read_snapshot(&broken).is_err(), "byte {at}");
            assert!(read_snapshot(&file[..at]).is_err(), "cut at {at}");
        }
        let grown = [&file[..], b"x"].concat();
        assert_eq!(read_snapshot(&grown), Err(SnapshotFileError::Length));
        let mut newer = file;
        newer[8] = 2;
        assert_eq!(read_snapshot(&newer), Err(SnapshotFileError::TooNew(2)));
        assert_eq!(read_snapshot(b"something else"), Err(SnapshotFileError::NotOne));
    }
}

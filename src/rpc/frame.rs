//! What goes over a connection: frames, each with its length before it. All numbers are big-endian.
//!
//! ```text
//! length u32 | kind u8 | …                               length counts from the kind on
//!              0 hello     version u16, largest frame u32, requests in flight u32
//!              1 request   id u64, method u16, limit in ms u32, body
//!              2 answer    id u64, body
//!              3 refusal   id u64, code u16, words
//!              4 alive     –
//!              5 goodbye   last id u64, code u16, words
//! ```
//!
//! The server speaks first: hello, or goodbye to whom it does not want. A goodbye names the last request that was taken:
//! those with a higher number were not and will not be. Kinds that are not known are skipped, so that a later version
//! may add some.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Code, Method, Refused};

/// Largest frame that anybody takes.
pub(crate) const MAX_FRAME: usize = 24 * 1024 * 1024;
/// What a request has before its body; other frames have less.
pub(crate) const MAX_HEAD: usize = 1 + 8 + 2 + 4;
/// Largest body of a request or answer, in bytes.
pub const MAX_BODY: usize = MAX_FRAME - MAX_HEAD;
/// The version in a hello.
pub(crate) const VERSION: u16 = 1;
const LENGTH: usize = 4;
/// Bodies up to this size are copied out of the buffer that they arrive in, so that a small one does not keep it.
const COPIED: usize = 8 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello { version: u16, frame: u32, in_flight: u32 },
    Request { id: u64, method: Method, limit_ms: u32, body: Bytes },
    Answer { id: u64, body: Bytes },
    Refusal { id: u64, refused: Refused },
    Alive,
    Goodbye { last: u64, refused: Refused },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {length} bytes is larger than the {limit} that are taken")]
    TooLarge { length: usize, limit: usize },
    #[error("a frame of kind {kind} is too short")]
    Short { kind: u8 },
    #[error("a frame is empty")]
    Empty,
}

impl Frame {
    /// Writes all but the body, which is given back.
    pub(crate) fn encode_head(self, to: &mut BytesMut) -> Bytes {
        let mut head = |kind: u8, rest: usize, body: &[u8]| {
            // No body is near 4 GiB: both sides bound it far below.
            let length = u32::try_from(1 + rest + body.len()).unwrap_or(u32::MAX);
            to.reserve(LENGTH + 1 + rest);
            to.put_u32(length);
            to.put_u8(kind);
        };
        match self {
            Self::Hello { version, frame, in_flight } => {
                head(0, 10, &[]);
                to.put_u16(version);
                to.put_u32(frame);
                to.put_u32(in_flight);
                Bytes::new()
            }
            Self::Request { id, method, limit_ms, body } => {
                head(1, 14, &body);
                to.put_u64(id);
                to.put_u16(method.0);
                to.put_u32(limit_ms);
                body
            }
            Self::Answer { id, body } => {
                head(2, 8, &body);
                to.put_u64(id);
                body
            }
            Self::Refusal { id, refused } => {
                let words = Bytes::from(refused.words);
                head(3, 10, &words);
                to.put_u64(id);
                to.put_u16(refused.code.0);
                words
            }
            Self::Alive => {
                head(4, 0, &[]);
                Bytes::new()
            }
            Self::Goodbye { last, refused } => {
                let words = Bytes::from(refused.words);
                head(5, 10, &words);
                to.put_u64(last);
                to.put_u16(refused.code.0);
                words
            }
        }
    }

    /// Bytes of the body.
    pub(crate) fn body_len(&self) -> usize {
        match self {
            Self::Request { body, .. } | Self::Answer { body, .. } => body.len(),
            _ => 0,
        }
    }
}

/// Takes the first whole frame off the buffer. `None` when more bytes are needed.
pub(crate) fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
    loop {
        let Some(length) = frame_length(buffer, limit)? else { return Ok(None) };
        if buffer.len() < LENGTH + length {
            return Ok(None);
        }
        buffer.advance(LENGTH);
        let kind = buffer.get_u8();
        let rest = length - 1;
        let head = match kind {
            0 | 3 | 5 => 10,
            1 => 14,
            2 => 8,
            4 => 0,
            _ => {
                buffer.advance(rest);
                continue;
            }
        };
        if rest < head {
            return Err(FrameError::Short { kind });
        }
        return Ok(Some(take(buffer, kind, rest - head)));
    }
}

/// How many bytes are still missing to the frame that the buffer begins with, as far as that can be said.
pub(crate) fn missing(buffer: &[u8], limit: usize) -> usize {
    match frame_length(buffer, limit) {
        Ok(Some(length)) => (LENGTH + length).saturating_sub(buffer.len()),
        _ => 0,
    }
}

fn frame_length(buffer: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    if length == 0 { Err(FrameError::Empty) } else { Ok(Some(length)) }
}

/// The frame whose kind was read already. The caller knows that all of it is there.
fn take(buffer: &mut BytesMut, kind: u8, body: usize) -> Frame {
    match kind {
        0 => {
            let (version, frame, in_flight) =
                (buffer.get_u16(), buffer.get_u32(), buffer.get_u32());
            buffer.advance(body);
            Frame::Hello { version, frame, in_flight }
        }
        1 => {
            let (id, method, limit_ms) =
                (buffer.get_u64(), Method(buffer.get_u16()), buffer.get_u32());
            Frame::Request { id, method, limit_ms, body: take_body(buffer, body) }
        }
        2 => {
            let id = buffer.get_u64();
            Frame::Answer { id, body: take_body(buffer, body) }
        }
        3 => {
            let (id, code) = (buffer.get_u64(), Code(buffer.get_u16()));
            Frame::Refusal { id, refused: take_refused(buffer, code, body) }
        }
        4 => {
            buffer.advance(body);
            Frame::Alive
        }
        _ => {
            let (last, code) = (buffer.get_u64(), Code(buffer.get_u16()));
            Frame::Goodbye { last, refused: take_refused(buffer, code, body) }
        }
    }
}

fn take_body(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length > COPIED { buffer.split_to(length).freeze() } else { buffer.copy_to_bytes_of(length) }
}

fn take_refused(buffer: &mut BytesMut, code: Code, length: usize) -> Refused {
    let words = buffer.copy_to_bytes_of(length);
    Refused::new(code, String::from_utf8_lossy(&words))
}

trait CopyOut {
    fn copy_to_bytes_of(&mut self, length: usize) -> Bytes;
}

impl CopyOut for BytesMut {
    /// A copy, unlike `copy_to_bytes`, which shares.
    fn copy_to_bytes_of(&mut self, length: usize) -> Bytes {
        let copy = Bytes::copy_from_slice(self.get(..length).unwrap_or_default());
        self.advance(length);
        copy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let body = || proptest::collection::vec(any::<u8>(), 0..20_000).prop_map(Bytes::from);
        let refused =
            || (any::<u16>(), ".{0,200}").prop_map(|(code, words)| Refused::new(Code(code), words));
        prop_oneof![
            any::<(u16, u32, u32)>().prop_map(|(version, frame, in_flight)| Frame::Hello {
                version,
                frame,
                in_flight
            }),
            (any::<(u64, u16, u32)>(), body()).prop_map(|((id, method, limit_ms), body)| {
                Frame::Request { id, method: Method(method), limit_ms, body }
            }),
            (any::<u64>(), body()).prop_map(|(id, body)| Frame::Answer { id, body }),
            (any::<u64>(), refused()).prop_map(|(id, refused)| Frame::Refusal { id, refused }),
            Just(Frame::Alive),
            (any::<u64>(), refused()).prop_map(|(last, refused)| Frame::Goodbye { last, refused }),
        ]
    }

    fn encode(frame: &Frame) -> BytesMut {
        let mut bytes = BytesMut::new();
        let body = frame.clone().encode_head(&mut bytes);
        bytes.extend_from_slice(&body);
        bytes
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire_in_pieces(
            sent in proptest::collection::vec(frames(), 0..6),
            piece in 1_usize..5000,
        ) {
            let wire: Vec<u8> = sent.iter().flat_map(|frame| encode(frame).to_vec()).collect();
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = decode(&mut buffer, MAX_FRAME).expect("good frames") {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn what_is_missing_is_what_completes_a_frame(frame in frames(), cut in any::<prop::sample::Index>()) {
            let wire = encode(&frame);
            let cut = cut.index(wire.len());
            let mut buffer = BytesMut::from(&wire[..cut]);
            prop_assert_eq!(decode(&mut buffer, MAX_FRAME), Ok(None));
            prop_assert_eq!(buffer.len(), cut, "nothing is taken of a part");
            if cut >= LENGTH {
                prop_assert_eq!(missing(&buffer, MAX_FRAME), wire.len() - cut);
            }
        }

        #[test]
        fn garbage_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            while let Ok(Some(_)) = decode(&mut buffer, 1 << 16) {}
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_known_by_its_first_bytes() {
        let frame = Frame::Answer { id: 1, body: Bytes::from(vec![0; 100]) };
        let wire = encode(&frame);
        let mut buffer = BytesMut::from(&wire[..LENGTH]);
        assert_eq!(decode(&mut buffer, 100), Err(FrameError::TooLarge { length: 109, limit: 100 }));
        assert_eq!(decode(&mut BytesMut::from(&[0; 4][..]), 100), Err(FrameError::Empty));
        assert_eq!(
            decode(&mut BytesMut::from(&[0, 0, 0, 2, 1, 0][..]), 100),
            Err(FrameError::Short { kind: 1 })
        );
    }

    #[test]
    fn a_later_version_may_send_more() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 3, 200, 1, 2][..]);
        buffer.extend_from_slice(&encode(&Frame::Alive));
        assert_eq!(decode(&mut buffer, 100), Ok(Some(Frame::Alive)));
    }

    #[test]
    fn a_small_body_does_not_keep_a_large_buffer() {
        let mut buffer = BytesMut::with_capacity(1 << 20);
        buffer.extend_from_slice(&encode(&Frame::Answer { id: 1, body: Bytes::from_static(b"x") }));
        let frame = decode(&mut buffer, 100).expect("good").expect("whole");
        assert_eq!(frame.body_len(), 1);
        assert!(buffer.try_reclaim(1 << 19), "the buffer is its own again");
        drop(frame);
    }
}

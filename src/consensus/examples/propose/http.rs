//! Just enough HTTP/1.1 to put a key into etcd by its gateway (`/v3/kv/put`), with a connection that stays open.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Larger answers are an error: a put is answered with a few dozen bytes.
const MOST: usize = 64 << 10;

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned() })
    }

    pub(crate) async fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let body = format!(r#"{{"key":"{}","value":"{}"}}"#, base64(key), base64(value));
        let request = format!(
            "POST /v3/kv/put HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let mut line = String::new();
        let (mut length, mut chunked) = (0, false);
        let mut first = true;
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim().to_ascii_lowercase();
            if std::mem::take(&mut first) {
                if !text.contains(" 200 ") {
                    return Err(io::Error::other(format!("etcd says {text}")));
                }
            } else if text.is_empty() {
                break;
            } else if let Some(said) = text.strip_prefix("content-length:") {
                length = said.trim().parse().map_err(io::Error::other)?;
            } else if text.starts_with("transfer-encoding:") {
                chunked = text.contains("chunked");
            }
        }
        if !chunked {
            return self.skip(length).await;
        }
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            self.skip(length + 2).await?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    async fn skip(&mut self, length: usize) -> io::Result<()> {
        if length > MOST {
            return Err(io::Error::other("etcd says more than it should"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.map(drop)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let filled = digit <= three.len();
            let value = (all >> (18 - 6 * digit)) & 63;
            text.push(if filled { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

//! How a client reaches an address. A test may give it another network.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Makes connections.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to `address` (`host:port`). The caller bounds the time.
    ///
    /// # Errors
    /// When nobody is there.
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Stream>>;
}

/// The real network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Dial for Tcp {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

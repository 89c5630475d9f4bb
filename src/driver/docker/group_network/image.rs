//! The image of the container that holds a network: one program, put together here, from no registry.

use std::time::Duration;

use bollard::body_full;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::super::api::{Api, refusal};
use super::pause;
use crate::DriverError;

/// The image; its tag changes with the program.
pub(super) const NAME: &str = "herder/pause:1";

/// How long the daemon may take to take it in.
const LIMIT: Duration = Duration::from_secs(60);

/// Sees to it that the image is there.
pub(super) async fn ensure(api: &Api) -> Result<(), DriverError> {
    if api.get(&format!("/images/{NAME}/json")).await?.is_some() {
        return Ok(());
    }
    let failed = |said: String| DriverError::failed(format!("make the image {NAME}"), said);
    let program = pause::program(std::env::consts::ARCH)
        .ok_or_else(|| failed(format!("there is none for {}", std::env::consts::ARCH)))?;
    let (repository, tag) = NAME.split_once(':').unwrap_or((NAME, "latest"));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .message("holds a group's network")
        .build();
    let client = api.client()?;
    let taken = async {
        let mut steps = Box::pin(client.create_image(
            Some(options),
            Some(body_full(archive(&program).into())),
            None,
        ));
        while let Some(step) = steps.next().await {
            match step {
                Ok(_) | Err(bollard::errors::Error::JsonDataError { .. }) => {}
                Err(error) => return Err(failed(refusal(&error).1)),
            }
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, taken).await.unwrap_or_else(|_| {
        Err(DriverError::Timeout { doing: format!("making the image {NAME}"), limit: LIMIT })
    })
}

/// A tar archive that holds the program as `pause`.
fn archive(program: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        if let Some(place) = header.get_mut(at..at + text.len()) {
            place.copy_from_slice(text.as_bytes());
        }
    };
    put(0, "pause");
    put(100, "0000555\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", program.len()));
    put(136, "00000000000\0");
    // Its own sum counts as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(place) = header.get_mut(148..156) {
        place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let mut archive = header.to_vec();
    archive.extend(program);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_reads_the_archive() {
        let mut tar = Command::new("tar")
            .args(["-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        tar.stdin.take().expect("a pipe").write_all(&archive(&[7; 600])).expect("written");
        let output = tar.wait_with_output().expect("ends");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.starts_with("-r-xr-xr-x 0/0"), "{text}");
        assert!(text.contains(" 600 ") && text.trim_end().ends_with("pause"), "{text}");
    }
}

//! `herder alloc fs`: an allocation's files.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use clap::Args;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// Flags of `herder alloc fs`.
#[derive(Args, Debug)]
pub struct FilesArguments {
    /// The allocation's ID or the beginning of it
    alloc: String,
    /// A path in the allocation's directory: a file is printed, a directory listed
    #[arg(default_value = "/")]
    path: String,
    /// Only say what is there
    #[arg(long)]
    stat: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn files(arguments: &FilesArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let id = client.alloc_id(&arguments.alloc)?;
    let info = client.file_info(id, &arguments.path)?;
    if arguments.stat || info.is_dir {
        let files = if arguments.stat { vec![info] } else { client.files(id, &arguments.path)? };
        return arguments.connection.show(&files, || {
            output::table(
                &["Mode", "Size", "Modified Time", "Name"],
                files.iter().map(|file| {
                    let name =
                        if file.is_dir { format!("{}/", file.name) } else { file.name.clone() };
                    let size = output::bytes(file.size);
                    vec![file.file_mode.clone(), size, output::date(file.mod_time), name]
                }),
            );
        });
    }
    let mut reader = client.file(id, &arguments.path)?;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        // Whoever reads us may stop before we do.
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

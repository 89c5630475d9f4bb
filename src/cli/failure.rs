//! What is printed when a command cannot do its work.

use anstyle::{AnsiColor, Style};

/// Why a command failed, in words, with the code that it ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) code: u8,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), code: 1 }
    }
}

impl Failure {
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

/// Prints an error with its causes to standard error.
pub fn print_error(error: &anyhow::Error) {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    anstream::eprintln!("{red}error{red:#}: {error}");
    let mut shown = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many errors already say what caused them.
        if !shown.contains(&cause) {
            anstream::eprintln!("  because {cause}");
            shown = cause;
        }
    }
}

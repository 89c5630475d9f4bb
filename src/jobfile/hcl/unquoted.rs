//! Texts that stand without their quotes, and what else is put in place of `"`.

use super::cursor::Reader;
use crate::report::{Fault, Span};

/// A longer line is not repeated in words of help.
const MAX_LENGTH: usize = 100;

impl Reader<'_> {
    /// Behind the value that starts there: what is wrong if its line goes on with what belongs to no attribute.
    pub(super) fn value_goes_on(&mut self, name: &str, start: usize) -> Option<Fault> {
        self.skip();
        let ends = self.newline().is_some()
            || matches!(self.byte(), None | Some(b'}' | b',' | b';'))
            || self.looks_like_item(self.at);
        if ends {
            return None;
        }
        Some(self.unquoted(name, start).unwrap_or_else(|| self.expected("the end of the line")))
    }

    /// What is wrong if the value that starts there is a text without quotes. Nothing where it may be something else.
    pub(super) fn unquoted(&self, name: &str, start: usize) -> Option<Fault> {
        let line = self.text.get(start..self.line_end(start))?;
        let comment = line.find(" #").or_else(|| line.find(" //")).unwrap_or(line.len());
        let text = line.get(..comment)?.trim_end();
        // The block may end on the same line.
        let text = text.strip_suffix('}').map_or(text, str::trim_end).trim_end_matches([',', ';']);
        let is_address = text.contains("://");
        let is_plain = |c: char| {
            c.is_alphanumeric()
                || matches!(c, ' ' | '_' | '-' | '.' | ':' | '/' | '*' | '@' | '~' | '\\' | '+')
                || (is_address && matches!(c, '?' | '=' | '&' | '%'))
        };
        let says_something = |c: char| c.is_alphabetic() || matches!(c, '/' | '*' | ':');
        let fits = text.len() <= MAX_LENGTH
            && text.chars().all(is_plain)
            && text.contains(says_something)
            && !["var.", "local."].iter().any(|known| text.contains(known));
        if !fits {
            return None;
        }
        let span = Span::new(start, start + text.len());
        if model::secret::looks_secret(name, text) {
            return Some(Fault::new("syntax", span, "quotes are missing around this text"));
        }
        let number = text.trim_end_matches(char::is_alphabetic);
        if number.parse::<f64>().is_ok() && model::parse_duration(text).is_err() {
            let message = format!("`{text}` is neither a number nor a text in quotes");
            let help = format!("sizes are numbers without a unit, nearly all megabytes: {number}");
            return Some(Fault::new("syntax", span, message).help(help));
        }
        let message = format!("quotes are missing around `{text}`");
        let help = format!("write {name} = \"{}\"", text.replace('\\', "\\\\"));
        Some(Fault::new("syntax", span, message).help(help))
    }

    /// The word of a heredoc whose opening is not right: in quotes, or behind a blank. With the opening's length.
    pub(super) fn misspelt_heredoc(&self, opened: usize) -> Option<(&str, usize)> {
        // It is asked for every `<<` behind a mistake, and a line may be as long as the file.
        let near = self.bytes.get(opened..)?;
        let length = near.iter().take(MAX_LENGTH).position(|byte| *byte == b'\n')?;
        let line = self.text.get(opened..opened + length)?.trim_end_matches('\r');
        let word = line.strip_prefix("<<")?.trim_start_matches([' ', '\t', '-']);
        let word = word.trim_end();
        let bare = word.trim_matches(['\'', '"', '`']);
        let is_word = bare.starts_with(super::cursor::starts_word)
            && bare.chars().all(super::cursor::continues_word);
        is_word.then_some((bare, line.len()))
    }
}

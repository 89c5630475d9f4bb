//! Tables in text: `csvdecode`.

use std::collections::BTreeSet;

use super::{Args, Function, fits};
use crate::expr::cty::{Fields, Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[Function("csvdecode", 1, 1, decode)];

/// The first row names the columns, each further one is a map of texts.
fn decode(a: &Args<'_>) -> Result<Value, String> {
    let text = a.text(0)?.replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1 };
    let names = reader.row()?.ok_or("there is no line with the names of the columns")?;
    let mut seen = BTreeSet::new();
    for name in &names {
        if !seen.insert(name) {
            return Err(format!("two columns are called `{name}`"));
        }
    }
    let bytes_of_names: usize = names.iter().map(|name| name.len() + 32).sum();
    let mut rows = Vec::new();
    loop {
        let line = reader.line;
        let Some(cells) = reader.row()? else {
            let column = |name: &String| (name.clone(), (Type::String, false));
            return Ok(Value::list(Type::Object(names.iter().map(column).collect()), rows));
        };
        if cells.len() != names.len() {
            let (has, columns) = (cells.len(), names.len());
            return Err(format!("line {line} has {has} fields, there are {columns} columns"));
        }
        // Each row has the names anew, so that a long name and many rows make much of little.
        fits(bytes_of_names.saturating_mul(rows.len() + 1))?;
        let cells = cells.into_iter().map(Value::text);
        let names = names.iter().map(|name| name.as_str().into());
        rows.push(Value::object(names.zip(cells).collect::<Fields>()));
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    /// The next row that is not an empty line.
    fn row(&mut self) -> Result<Option<Vec<String>>, String> {
        while let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut cells = Vec::new();
        loop {
            cells.push(self.cell()?);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else {
                self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
                self.line += 1;
                return Ok(Some(cells));
            }
        }
    }

    /// A field, up to the comma, the end of the line or the end of the text.
    fn cell(&mut self) -> Result<String, String> {
        let line = self.line;
        let Some(mut rest) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (cell, rest) = self.rest.split_at(end);
            if cell.contains('"') {
                return Err(format!("line {line} has a quote within a field without quotes"));
            }
            self.rest = rest;
            return Ok(cell.to_owned());
        };
        let mut cell = String::new();
        loop {
            let (inside, after) = rest
                .split_once('"')
                .ok_or_else(|| format!("the quote of line {line} is not closed"))?;
            cell.push_str(inside);
            self.line += inside.matches('\n').count();
            match after.strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    rest = more;
                }
                None if after.is_empty() || after.starts_with([',', '\n']) => {
                    self.rest = after;
                    return Ok(cell);
                }
                None => {
                    return Err(format!("line {line} has text behind the quotes of a field"));
                }
            }
        }
    }
}

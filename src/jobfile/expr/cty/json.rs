//! JSON as `jsonencode` writes and `jsondecode` reads it.

use std::fmt::Write as _;

use super::{Fields, Number, Value, normal};

/// How deep JSON may nest.
const MAX_DEPTH: usize = 64;

/// Keys are sorted, numbers have no exponent, and `<`, `>`, `&` and the line separators of Unicode are escaped, so that
/// the text is safe inside a page and equal to what Nomad makes.
pub(in crate::expr) fn encode(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null(_) | Value::Failed => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(n) => write!(out, "{n}").expect("text takes all that is written"),
        Value::String(text) => quoted(text, out),
        Value::List(items) | Value::Set(items) | Value::Tuple(items) => {
            out.push('[');
            for (at, item) in items.items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(items) | Value::Object(items) => {
            out.push('{');
            for (at, (key, item)) in items.items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(key, out);
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("text takes all that is written");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The value that JSON text stands for: arrays are tuples, objects are objects, numbers keep every digit.
pub(in crate::expr) fn decode(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(MAX_DEPTH)?;
    reader.space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("there is something behind the value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} at byte {}", self.at)
    }

    fn takes(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.wrong("it nests too deeply"))?;
        self.space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::text),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.takes("null") => Ok(Value::null()),
            _ if self.takes("true") => Ok(Value::Bool(true)),
            _ if self.takes("false") => Ok(Value::Bool(false)),
            Some(_) => Err(self.wrong("no value stands")),
            None => Err(self.wrong("it ends")),
        }
    }

    /// What follows an element: another, or the end.
    fn goes_on(&mut self, end: &str) -> Result<bool, String> {
        self.space();
        if self.takes(",") {
            return Ok(true);
        }
        if self.takes(end) {
            Ok(false)
        } else {
            Err(self.wrong(&format!("`,` or `{end}` is missing")))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        self.space();
        let mut items = Vec::new();
        if !self.takes("]") {
            loop {
                items.push(self.value(depth)?);
                if !self.goes_on("]")? {
                    break;
                }
            }
        }
        Ok(Value::tuple(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        self.space();
        let mut items = Fields::new();
        if !self.takes("}") {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return Err(self.wrong("a key in quotes is missing"));
                }
                let key = self.string()?;
                self.space();
                if !self.takes(":") {
                    return Err(self.wrong("`:` is missing"));
                }
                items.insert(normal(&key).as_ref().into(), self.value(depth)?);
                if !self.goes_on("}")? {
                    break;
                }
            }
        }
        Ok(Value::object(items))
    }

    fn number(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or("");
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (text, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        let is_number = digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)));
        let number = Number::parse(text).filter(|_| is_number);
        let number = number.ok_or_else(|| self.wrong("this is no number, or too large a one"))?;
        self.at += text.len();
        Ok(Value::Number(number))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let mut rest = self.rest().chars();
            let c = rest.next().ok_or_else(|| self.wrong("a string has no end"))?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\0'..='\u{1f}' => return Err(self.wrong("a string has a control character")),
                '\\' => {
                    let escape = rest.next().ok_or_else(|| self.wrong("a string has no end"))?;
                    self.at += escape.len_utf8();
                    match escape {
                        '"' | '\\' | '/' => out.push(escape),
                        'b' => out.push('\u{8}'),
                        'f' => out.push('\u{c}'),
                        'n' => out.push('\n'),
                        'r' => out.push('\r'),
                        't' => out.push('\t'),
                        'u' => out.push(self.unicode()?),
                        _ => return Err(self.wrong("a string has an unknown escape")),
                    }
                }
                other => out.push(other),
            }
        }
    }

    /// A character of one or two escapes; half a pair alone becomes the sign for what is unreadable.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex().ok_or_else(|| self.wrong("a `\\u` needs four digits"))?;
        self.at += 4;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 2;
            match self.hex() {
                Some(second) if (0xdc00..0xe000).contains(&second) => {
                    self.at += 4;
                    let c = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    return Ok(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                _ => self.at -= 2,
            }
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| plain)
    }
}

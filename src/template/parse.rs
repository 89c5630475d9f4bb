//! Reads a template.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::TemplateError;
use crate::lex::{Piece, Word, pieces};
use crate::limits::{MAX_DEPTH, MAX_SOURCE};
use crate::names::{self, Availability};
use crate::scope::Scope;
use crate::tree::{At, Base, Branch, Command, Node, Operand, Pipe, Template};

/// The longest delimiter, in bytes.
const MAX_DELIMITER: usize = 32;
/// The most variables that are known at one place.
const MAX_VARIABLES: usize = 500;

impl Template {
    /// Reads a template. Empty delimiters are `{{` and `}}`.
    ///
    /// # Errors
    /// At the first thing that cannot be read, at a function that does not exist or is not offered, wherever it stands,
    /// and at the limits.
    pub fn parse(source: &str, left: &str, right: &str) -> Result<Self, TemplateError> {
        let whole = |message: String| TemplateError { line: 1, column: 1, message, not_yet: false };
        if source.len() > MAX_SOURCE {
            let message =
                format!("the template has {} bytes, {MAX_SOURCE} are allowed", source.len());
            return Err(whole(message));
        }
        let left = if left.is_empty() { "{{" } else { left };
        let right = if right.is_empty() { "}}" } else { right };
        if left.len().max(right.len()) > MAX_DELIMITER {
            return Err(whole(format!("a delimiter has at most {MAX_DELIMITER} characters")));
        }
        let pieces = pieces(source, (left, right))?;
        let mut parser = Parser {
            source,
            pieces: pieces.into_iter(),
            named: BTreeMap::new(),
            scope: Scope::new(()),
            calls: Vec::new(),
            loops: 0,
            depth: 0,
        };
        let (body, end) = parser.block(None)?;
        if let Some((at, word)) = end {
            return Err(parser.error(at, format!("`{word}` has no block that it belongs to")));
        }
        for (at, name) in &parser.calls {
            if !parser.named.contains_key(name) {
                let message =
                    format!("no template is called `{name}`; write a `define` with that name");
                return Err(parser.error(*at, message));
            }
        }
        Ok(Self { source: source.to_owned(), body, named: parser.named })
    }
}

/// What ends a block: `end`, or `else` with the rest of its action.
type End = Option<(At, &'static str)>;

struct Parser<'a> {
    source: &'a str,
    pieces: std::vec::IntoIter<Piece<'a>>,
    named: BTreeMap<String, Arc<Vec<Node>>>,
    scope: Scope<()>,
    calls: Vec<(At, String)>,
    /// Loops around this place.
    loops: usize,
    depth: usize,
}

/// The words of an action.
struct Words {
    open: At,
    words: Vec<(At, Word)>,
    next: usize,
}

impl Words {
    fn at(&self) -> At {
        self.words.get(self.next).map_or(self.open, |(at, _)| *at)
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next).map(|(_, word)| word)
    }

    /// The word so many behind the next.
    fn ahead(&self, by: usize) -> Option<&Word> {
        self.words.get(self.next + by).map(|(_, word)| word)
    }

    fn next(&mut self) -> Option<Word> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, wanted: impl Fn(&Word) -> bool) -> Option<Word> {
        let (_, word) = self.words.get_mut(self.next)?;
        if !wanted(word) {
            return None;
        }
        self.next += 1;
        Some(std::mem::replace(word, Word::Dot))
    }

    fn take_name(&mut self, wanted: &str) -> bool {
        self.next_if(|word| matches!(word, Word::Name(name) if name == wanted)).is_some()
    }
}

impl Parser<'_> {
    fn error(&self, at: At, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.source, at, message)
    }

    fn enter(&mut self, at: At) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, format!("blocks are nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }

    /// Reads to the end of a block, or of the template where there is none. An `else` leaves its words for the caller.
    fn block(&mut self, opened: Option<(At, &str)>) -> Result<(Vec<Node>, End), TemplateError> {
        let (nodes, end, rest) = self.block_and_rest(opened)?;
        if let Some(rest) = rest {
            self.nothing_more(&rest)?;
        }
        Ok((nodes, end))
    }

    fn block_and_rest(
        &mut self,
        opened: Option<(At, &str)>,
    ) -> Result<(Vec<Node>, End, Option<Words>), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (at, words) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.to_owned()));
                    continue;
                }
                Piece::Action { at, words } => (at, words),
            };
            let mut words = Words { open: at, words, next: 0 };
            let keyword = match words.peek() {
                Some(Word::Name(name)) => name.clone(),
                Some(_) => String::new(),
                None => return Err(self.error(at, "the action is empty")),
            };
            match keyword.as_str() {
                "end" | "else" => {
                    words.next();
                    let word = if keyword == "end" { "end" } else { "else" };
                    return Ok((nodes, Some((at, word)), Some(words)));
                }
                "if" | "with" | "range" => {
                    words.next();
                    nodes.push(self.branch(at, &keyword, words)?);
                }
                "define" => {
                    words.next();
                    if opened.is_some() {
                        return Err(self.error(at, "`define` stands outside of all blocks"));
                    }
                    self.define(at, words)?;
                }
                "block" => {
                    words.next();
                    nodes.push(self.inline_block(at, words)?);
                }
                "template" => {
                    words.next();
                    let name = self.template_name(&mut words)?;
                    let with = self.optional_pipe(&mut words)?;
                    self.calls.push((at, name.clone()));
                    nodes.push(Node::Call { at, name, with });
                }
                "break" | "continue" => {
                    words.next();
                    self.nothing_more(&words)?;
                    if self.loops == 0 {
                        return Err(self.error(at, format!("`{keyword}` stands in no `range`")));
                    }
                    nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                }
                _ => {
                    let pipe = self.pipe(&mut words, 1)?;
                    self.nothing_more(&words)?;
                    nodes.push(Node::Action(pipe));
                }
            }
        }
        match opened {
            Some((at, word)) => {
                Err(self.error(at, format!("`{word}` is not closed; `end` is missing")))
            }
            None => Ok((nodes, None, None)),
        }
    }

    fn branch(&mut self, at: At, keyword: &str, mut words: Words) -> Result<Node, TemplateError> {
        self.enter(at)?;
        let mark = self.scope.mark();
        let most = if keyword == "range" { 2 } else { 1 };
        let pipe = self.pipe(&mut words, most)?;
        self.nothing_more(&words)?;
        self.loops += usize::from(keyword == "range");
        let inner = self.scope.mark();
        let (body, end, rest) = self.block_and_rest(Some((at, keyword)))?;
        self.scope.leave(inner);
        self.loops -= usize::from(keyword == "range");
        let mut otherwise = Vec::new();
        if let (Some((else_at, word)), Some(mut rest)) = (end, rest) {
            if word == "else" && keyword != "range" && rest.take_name(keyword) {
                // Its `end` is that of the whole.
                otherwise.push(self.branch(else_at, keyword, rest)?);
            } else {
                self.nothing_more(&rest)?;
                if word == "else" {
                    let (nodes, end) = self.block(Some((at, keyword)))?;
                    if let Some((again, "else")) = end {
                        let message = format!("`{keyword}` has an `else` already");
                        return Err(self.error(again, message));
                    }
                    otherwise = nodes;
                }
            }
        }
        self.scope.leave(mark);
        self.depth -= 1;
        let branch = Branch { at, pipe, body, otherwise };
        Ok(match keyword {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    fn define(&mut self, at: At, mut words: Words) -> Result<(), TemplateError> {
        let name = self.template_name(&mut words)?;
        self.nothing_more(&words)?;
        self.named_body(at, "define", name)
    }

    fn inline_block(&mut self, at: At, mut words: Words) -> Result<Node, TemplateError> {
        let name = self.template_name(&mut words)?;
        let with = self.optional_pipe(&mut words)?;
        self.named_body(at, "block", name.clone())?;
        Ok(Node::Call { at, name, with })
    }

    fn named_body(&mut self, at: At, keyword: &str, name: String) -> Result<(), TemplateError> {
        self.enter(at)?;
        // Neither variables nor loops around it are known inside.
        let scope = std::mem::replace(&mut self.scope, Scope::new(()));
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.block(Some((at, keyword)))?;
        if let Some((at, "else")) = end {
            return Err(self.error(at, format!("`{keyword}` has no `else`")));
        }
        (self.scope, self.loops) = (scope, loops);
        self.depth -= 1;
        let empty = |body: &[Node]| {
            body.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.named.get(&name) {
            Some(known) if !empty(known) => {
                if !empty(&body) {
                    return Err(self.error(at, format!("two templates are called `{name}`")));
                }
            }
            _ => {
                self.named.insert(name, Arc::new(body));
            }
        }
        Ok(())
    }

    fn template_name(&mut self, words: &mut Words) -> Result<String, TemplateError> {
        let at = words.at();
        match words.next() {
            Some(Word::Text(name)) => Ok(name.as_ref().to_owned()),
            _ => Err(self.error(at, "the name of a template stands here, in quotes")),
        }
    }

    fn optional_pipe(&mut self, words: &mut Words) -> Result<Option<Pipe>, TemplateError> {
        if words.peek().is_none() {
            return Ok(None);
        }
        let pipe = self.pipe(words, 0)?;
        self.nothing_more(words)?;
        Ok(Some(pipe))
    }

    fn nothing_more(&self, words: &Words) -> Result<(), TemplateError> {
        match words.peek() {
            None => Ok(()),
            Some(_) => Err(self.error(words.at(), "nothing may follow here")),
        }
    }

    /// Reads a pipeline that may declare so many variables.
    fn pipe(&mut self, words: &mut Words, most: usize) -> Result<Pipe, TemplateError> {
        let at = words.at();
        let (names, assigns) = self.declared(words, most)?;
        let mut commands = vec![self.command(words)?];
        while words.next_if(|word| *word == Word::Pipe).is_some() {
            commands.push(self.command(words)?);
            let takes = commands.last().is_some_and(|command| {
                matches!(command.first.base, Base::Function(_))
                    || matches!(command.first.base, Base::Variable(_))
                        && !command.first.fields.is_empty()
            });
            if !takes {
                let at = commands.last().map_or(at, |command| command.first.at);
                return Err(self.error(
                    at,
                    "what follows a `|` is a function, which takes what comes before it",
                ));
            }
        }
        if assigns {
            for name in &names {
                if self.scope.get(name).is_none() {
                    return Err(self
                        .error(at, format!("the variable `{name}` is not declared; write `:=`")));
                }
            }
        } else {
            for name in &names {
                self.scope.declare(name, ());
            }
            if self.scope.mark() > MAX_VARIABLES {
                let message = format!("more than {MAX_VARIABLES} variables are declared here");
                return Err(self.error(at, message));
            }
        }
        Ok(Pipe { at, names, assigns, commands })
    }

    fn declared(
        &mut self,
        words: &mut Words,
        most: usize,
    ) -> Result<(Vec<String>, bool), TemplateError> {
        let at = words.at();
        let mut ahead = 0;
        let mut names = Vec::new();
        while let Some(Word::Variable(name)) = words.ahead(ahead) {
            names.push(name.clone());
            ahead += 1;
            if names.len() > 2 || words.ahead(ahead) != Some(&Word::Comma) {
                break;
            }
            ahead += 1;
        }
        let assigns = match words.ahead(ahead) {
            Some(Word::Declare) => false,
            Some(Word::Assign) => true,
            _ => return Ok((Vec::new(), false)),
        };
        if names.is_empty() {
            return Err(self.error(at, "a variable stands before `:=` and `=`"));
        }
        if names.len() > most || names.iter().any(|name| name == "$") {
            return Err(self.error(at, "these variables cannot be set here"));
        }
        words.next += ahead + 1;
        Ok((names, assigns))
    }

    fn command(&mut self, words: &mut Words) -> Result<Command, TemplateError> {
        let at = words.at();
        let Some(first) = self.operand(words)? else {
            return Err(self.error(at, "a value or a function is missing here"));
        };
        let mut arguments = Vec::new();
        while let Some(operand) = self.operand(words)? {
            arguments.push(operand);
        }
        if matches!(first.base, Base::Nil) {
            return Err(self.error(at, "`nil` alone has no value"));
        }
        let calls = matches!(first.base, Base::Function(_))
            || matches!(first.base, Base::Variable(_)) && !first.fields.is_empty();
        if !arguments.is_empty() && !calls {
            return Err(self.error(at, "this is no function and takes no arguments"));
        }
        Ok(Command { first, arguments })
    }

    fn operand(&mut self, words: &mut Words) -> Result<Option<Operand>, TemplateError> {
        let at = words.at();
        let ends = |word: &Word| matches!(word, Word::Pipe | Word::Close);
        let Some(word) = words.next_if(|word| !ends(word)) else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        let base = match word {
            Word::Dot => Base::Dot,
            Word::Field(name, _) => {
                fields.push(name);
                Base::Dot
            }
            Word::Variable(name) => {
                if self.scope.get(&name).is_none() {
                    return Err(self.error(at, format!("the variable `{name}` is not declared")));
                }
                Base::Variable(name)
            }
            Word::Text(text) => Base::Text(text),
            Word::Int(number) => Base::Int(number),
            Word::Float(number) => Base::Float(number),
            Word::Open => {
                self.enter(at)?;
                let pipe = self.pipe(words, 0)?;
                if words.next_if(|word| *word == Word::Close).is_none() {
                    return Err(self.error(at, "this parenthesis is not closed"));
                }
                self.depth -= 1;
                Base::Pipe(Box::new(pipe))
            }
            Word::Name(name) => match name.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                _ => self.function(at, name)?,
            },
            Word::Declare | Word::Assign | Word::Comma | Word::Pipe | Word::Close => {
                return Err(self.error(at, "this does not belong here"));
            }
        };
        while let Some(Word::Field(name, _)) =
            words.next_if(|word| matches!(word, Word::Field(_, true)))
        {
            fields.push(name);
        }
        Ok(Some(Operand { at, base, fields }))
    }

    fn function(&self, at: At, name: String) -> Result<Base, TemplateError> {
        match names::availability(&name) {
            Availability::Offered => Ok(Base::Function(name)),
            Availability::NotYet => {
                let error = self.error(at, format!("the function `{name}` is not offered yet"));
                Err(TemplateError { not_yet: true, ..error })
            }
            Availability::Denied => Err(self.error(
                at,
                format!(
                    "the function `{name}` is denied: a template may not run or write anything"
                ),
            )),
            Availability::Unknown => {
                let keyword = ["if", "with", "range", "else", "end", "define", "block", "template"]
                    .contains(&name.as_str());
                Err(self.error(
                    at,
                    if keyword {
                        format!("`{name}` stands at the beginning of an action only")
                    } else {
                        format!("there is no function `{name}`")
                    },
                ))
            }
        }
    }
}

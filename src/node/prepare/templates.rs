//! Renders a task's templates into its directory.
//!
//! Nothing is written until all of them are rendered, so that a task never finds half of what it was promised. A message
//! names the template and the place in it, and never holds what a function was given or what came of it.

mod change;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Allocation, Node, Origin, Task, Template, Timestamp};
use template::{
    Data, Dependency, Found, MAX_OUTPUT, MAX_SOURCE, Settings, Stopped, Value, parse_env_file,
};

pub(crate) use self::change::Changes;
use self::place::Places;
use super::{Preparing, Unprepared};
use crate::dirs::{Access, Dirs};
use crate::runner::Shared;

/// Nomad's name of the event.
const FAILED: &str = "Template failed to render";
/// The largest file that a template reads.
const MAX_FILE: usize = 1 << 20;
/// How many files a template may read.
const MAX_FILES: usize = 32;

/// What a template from the repository says; none for other templates.
type Source = Option<Vec<u8>>;

/// A template's result.
struct Output {
    parts: Vec<String>,
    bytes: Vec<u8>,
    access: Access,
    /// A file that is there already is left as it is.
    keep: bool,
}

/// Renders all templates, writes them and returns what they add to the task's environment.
///
/// # Errors
/// What is wrong with the first that fails.
pub(super) async fn prepare(task: &Preparing<'_>) -> Result<BTreeMap<String, String>, Unprepared> {
    if task.task.templates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let policy = task.task.restart_policy.as_ref().unwrap_or(&task.group.restart_policy);
    let keeps = task.restarted && !policy.render_templates;
    on_a_thread(task, keeps, Work::run).await
}

/// Renders all templates of a running task again, but those that are rendered once, and writes the results that are not
/// what is there. Returns what follows for the task, and how long to wait before it is done.
///
/// # Errors
/// What is wrong with the first that fails; then nothing was written.
pub(crate) async fn rerender(task: &Preparing<'_>) -> Result<(Changes, Duration), Unprepared> {
    let changed = on_a_thread(task, false, Work::run_again).await?;
    let changed: Vec<&Template> =
        changed.into_iter().filter_map(|n| task.task.templates.get(n)).collect();
    let most = changed.iter().map(|template| template.splay).max().unwrap_or_default();
    let id = task.alloc.id.uuid();
    let wait = crate::runner::splay(&[id.as_bytes(), task.task.name.as_bytes()], most);
    Ok((change::changes(changed), wait))
}

async fn on_a_thread<T: Send + 'static>(
    task: &Preparing<'_>,
    keeps: bool,
    run: fn(&Work, &[Source]) -> Result<T, Unprepared>,
) -> Result<T, Unprepared> {
    let mut sources = Vec::new();
    for (n, template) in task.task.templates.iter().enumerate() {
        let source = from_repository(task.shared, &task.alloc.origin, template).await;
        sources.push(source.map_err(|words| failed(n, template, &words, true))?);
    }
    let work = Work {
        dirs: task.shared.dirs.clone(),
        node: Arc::clone(&task.shared.options.node),
        now: (task.shared.options.clock)(),
        alloc: Arc::clone(task.alloc),
        task: task.task.clone(),
        env: task.env.clone(),
        keeps,
    };
    // Bounded by the steps that a template may take.
    tokio::task::spawn_blocking(move || run(&work, &sources)).await.unwrap_or_else(|_| {
        let message = "the templates could not be rendered: the renderer ended early".to_owned();
        Err(Unprepared { kind: FAILED, message, recoverable: true })
    })
}

/// The text of a template that is a file of the repository.
async fn from_repository(
    shared: &Shared,
    origin: &Origin,
    template: &Template,
) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = template.repository_path(&origin.path) else { return Ok(None) };
    let path = path?;
    let Some(files) = &shared.options.repository else {
        return Err("this node has no repository to read from".to_owned());
    };
    let bytes = files.read(origin, &path, &template.source_blob, MAX_SOURCE).await;
    let commit = origin.commit.short();
    bytes.map(Some).map_err(|why| format!("`{path}` at commit {commit} cannot be read: {why}"))
}

/// Everything that rendering needs, on a thread that may block.
struct Work {
    dirs: Dirs,
    node: Arc<Node>,
    now: Timestamp,
    alloc: Arc<Allocation>,
    task: Task,
    env: BTreeMap<String, String>,
    /// The task ran before, and its files are its own.
    keeps: bool,
}

impl Work {
    fn run(&self, sources: &[Source]) -> Result<BTreeMap<String, String>, Unprepared> {
        let (outputs, env) = self.outputs(sources)?;
        for (n, (output, template)) in outputs.iter().zip(&self.task.templates).enumerate() {
            if !(output.keep && self.there(output).is_some()) {
                self.write(n, template, output)?;
            }
        }
        Ok(env)
    }

    /// The templates that were written, by their numbers.
    fn run_again(&self, sources: &[Source]) -> Result<Vec<usize>, Unprepared> {
        let (outputs, _) = self.outputs(sources)?;
        let mut changed = Vec::new();
        for (n, (output, template)) in outputs.iter().zip(&self.task.templates).enumerate() {
            if template.once || self.there(output).is_some_and(|bytes| bytes == output.bytes) {
                continue;
            }
            self.write(n, template, output)?;
            changed.push(n);
        }
        Ok(changed)
    }

    fn there(&self, output: &Output) -> Option<Vec<u8>> {
        self.dirs.read_beneath(self.alloc.id, &output.parts, MAX_OUTPUT).ok().flatten()
    }

    fn write(&self, n: usize, template: &Template, output: &Output) -> Result<(), Unprepared> {
        self.dirs
            .write_beneath(self.alloc.id, &output.parts, &output.bytes, output.access)
            .map_err(|error| failed(n, template, &error.to_string(), true))
    }

    fn outputs(
        &self,
        sources: &[Source],
    ) -> Result<(Vec<Output>, BTreeMap<String, String>), Unprepared> {
        let places = Places::new(&self.task.name, &self.env, &self.node);
        let mut env = BTreeMap::new();
        let mut outputs: Vec<Output> = Vec::new();
        for (n, template) in self.task.templates.iter().enumerate() {
            let fail = |words: &str| failed(n, template, words, false);
            let source = sources.get(n).and_then(Option::as_deref);
            let (output, variables) =
                self.output(&places, template, source).map_err(|words| fail(&words))?;
            env.extend(variables);
            if outputs.iter().any(|other| other.parts == output.parts) {
                return Err(fail("another template has the same destination"));
            }
            outputs.push(output);
        }
        Ok((outputs, env))
    }

    fn output(
        &self,
        places: &Places<'_>,
        template: &Template,
        source: Option<&[u8]>,
    ) -> Result<(Output, BTreeMap<String, String>), String> {
        let parts =
            places.file(&template.destination).map_err(|why| format!("its destination {why}"))?;
        let access = access(template)?;
        let read;
        let text = match source {
            Some(bytes) => bytes,
            None if template.source.is_empty() => template.data.as_bytes(),
            None => {
                let parts =
                    places.file(&template.source).map_err(|why| format!("its source {why}"))?;
                read = self
                    .dirs
                    .read_beneath(self.alloc.id, &parts, MAX_SOURCE)
                    .map_err(|why| {
                        format!("its source `{}` cannot be read: {why}", template.source)
                    })?
                    .ok_or_else(|| {
                        format!("its source `{}` is not in the task's directory", template.source)
                    })?;
                &read
            }
        };
        let text = std::str::from_utf8(text).map_err(|_| "its source is no text".to_owned())?;
        let parsed = template::Template::parse(text, &template.left_delim, &template.right_delim)
            .map_err(|error| error.to_string())?;
        let rendered = self.render(places, &parsed, template.error_on_missing_key)?;
        let variables = match template.envvars {
            true => parse_env_file(&rendered).map_err(|error| error.to_string())?,
            false => BTreeMap::new(),
        };
        let keep = self.keeps;
        Ok((Output { parts, bytes: rendered.into_bytes(), access, keep }, variables))
    }

    fn render(
        &self,
        places: &Places<'_>,
        template: &template::Template,
        error_on_missing_key: bool,
    ) -> Result<String, String> {
        let mut data = TaskData { env: &self.env, node: &self.node, files: BTreeMap::new() };
        let settings = Settings { error_on_missing_key, now: self.now };
        loop {
            match template.render(&data, settings) {
                Ok(rendered) => return Ok(rendered.text),
                Err(Stopped::Failed(error)) => return Err(error.to_string()),
                Err(Stopped::Wants(Dependency::File(path))) => {
                    if data.files.len() == MAX_FILES {
                        return Err(format!("it reads more than {MAX_FILES} files"));
                    }
                    let found = self.file(places, &path);
                    data.files.insert(path, found);
                }
                Err(Stopped::Wants(_)) => {
                    return Err("it asks for what this node does not have".into());
                }
            }
        }
    }

    fn file(&self, places: &Places<'_>, path: &str) -> Found {
        let found = places
            .file(path)
            .and_then(|parts| self.dirs.read_beneath(self.alloc.id, &parts, MAX_FILE));
        match found.map(|bytes| bytes.map(String::from_utf8)) {
            Ok(None) => Found::Absent,
            Ok(Some(Ok(text))) => Found::Value(Value::text(text)),
            Ok(Some(Err(_))) => Found::Refused(format!("the file `{path}` is no text")),
            Err(why) => Found::Refused(format!("the file `{path}`: {why}")),
        }
    }
}

/// What a template sees.
struct TaskData<'a> {
    env: &'a BTreeMap<String, String>,
    node: &'a Node,
    files: BTreeMap<String, Found>,
}

impl Data for TaskData<'_> {
    fn get(&self, dependency: &Dependency) -> Found {
        match dependency {
            Dependency::Env(name) => model::lookup(self.env, self.node, name)
                .map_or(Found::Absent, |text| Found::Value(Value::text(text))),
            Dependency::File(path) => self.files.get(path).cloned().unwrap_or(Found::NotYet),
            _ => Found::Refused("this node does not have it".to_owned()),
        }
    }
}

fn access(template: &Template) -> Result<Access, String> {
    let perms = if template.perms.is_empty() { "0644" } else { &template.perms };
    let mode = u32::from_str_radix(perms, 8).ok().filter(|mode| *mode <= 0o7777);
    let mode =
        mode.ok_or("its perms are no permissions; write three or four digits from 0 to 7")?;
    let owner = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    Ok(Access { mode, uid: owner(template.uid), gid: owner(template.gid) })
}

fn failed(n: usize, template: &Template, words: &str, recoverable: bool) -> Unprepared {
    let message = format!("template {} (`{}`): {words}", n + 1, template.destination);
    Unprepared { kind: FAILED, message, recoverable }
}

#[cfg(test)]
mod tests;

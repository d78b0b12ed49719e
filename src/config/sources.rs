//! The layers a value can come from, and how they are laid over each other.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::rules::{Key, MASK};
use super::settings::{IGNORED_ENV, PORT_ENV};
use super::{ConfigError, ConfigErrors, DEFAULTS};

/// A configuration file or secret file above this size is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What to read. The default reads nothing but the built-in defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// The whole environment; names that are nobody's are skipped.
    pub environment: Vec<(String, String)>,
    /// Setting, flag, value: `("server.listen", "--listen", "127.0.0.1:1")`.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The environment of this process. Names and values that are not UTF-8 are nobody's.
    pub fn from_environment(file: Option<PathBuf>, flags: Vec<(&'static str, &'static str, String)>) -> Sources {
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Sources { file, environment, flags }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    /// Changed while the manager ran, and kept in its store.
    Stored,
    Env(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "file:{}:{line}", path.display()),
            Origin::Stored => f.write_str("stored"),
            Origin::Env(name) => write!(f, "env:{name}"),
            Origin::Flag(flag) => write!(f, "flag:{flag}"),
        }
    }
}

/// The text in force for each setting.
#[derive(Clone, Default)]
pub(super) struct Values(Vec<Value>);

#[derive(Clone)]
struct Value {
    key: String,
    text: String,
    origin: Origin,
    secret: bool,
}

/// Texts may be secrets.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|v| (&v.key, &v.origin))).finish()
    }
}

impl Values {
    /// All layers in their order, and what has no effect.
    pub(super) fn collect(sources: &Sources, keys: &[Key], errors: &mut ConfigErrors) -> (Values, Vec<String>) {
        let mut values = Values(Vec::with_capacity(keys.len()));
        values.lay_toml(DEFAULTS, keys, errors, |_| Origin::Default);
        if let Some(path) = &sources.file {
            match read_bounded(path) {
                Ok(text) => values.lay_toml(&text, keys, errors, |line| Origin::File { path: path.clone(), line }),
                Err(problem) => errors.0.push(problem_of(&path.display().to_string(), problem)),
            }
        }
        let notes = values.lay_environment(&sources.environment, keys, errors);
        for (name, flag, text) in &sources.flags {
            if let Some(key) = keys.iter().find(|key| key.name == *name) {
                values.set(key, text.clone(), Origin::Flag(flag));
            }
        }
        (values, notes)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|value| value.text.as_str())
    }

    pub(super) fn origin(&self, name: &str) -> Option<&Origin> {
        self.find(name).map(|value| &value.origin)
    }

    /// An error about the present value of a setting.
    pub(super) fn error(&self, name: &str, problem: &str) -> ConfigError {
        let found = self.find(name);
        // A URL is refused when it has a password in it, and the refusal must not repeat it.
        let hides = |value: &Value| value.secret || (value.text.contains("://") && value.text.contains('@'));
        let shown = found.map(|value| if hides(value) { MASK.to_owned() } else { value.text.clone() });
        ConfigError { key: name.to_owned(), value: shown, origin: found.map(|v| v.origin.clone()), problem: problem.to_owned() }
    }

    pub(super) fn check(&self, key: &Key, errors: &mut ConfigErrors) {
        if !self.text(&key.name).is_some_and(|text| key.accepts(text)) {
            errors.0.push(self.error(&key.name, &format!("must be {}", key.allowed)));
        }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|value| value.key == name)
    }

    pub(super) fn set(&mut self, key: &Key, text: String, origin: Origin) {
        let value = Value { key: key.name.clone(), text, origin, secret: key.secret };
        match self.0.iter_mut().find(|value| value.key == key.name) {
            Some(slot) => *slot = value,
            None => self.0.push(value),
        }
    }

    fn lay_toml(&mut self, text: &str, keys: &[Key], errors: &mut ConfigErrors, origin: impl Fn(usize) -> Origin) {
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let line = line_of(text, error.span().map_or(0, |span| span.start));
                errors.0.push(problem_of(&origin(line).to_string(), format!("is not TOML: {}", error.message())));
                return;
            }
        };
        for (section, body) in table.get_ref() {
            let line = line_of(text, body.span().start);
            let Some(fields) = body.get_ref().as_table() else {
                let name = section.get_ref().as_ref();
                let shown = keys.iter().find(|key| key.field == name).map_or("[server]".to_owned(), |key| format!("[{}]", key.section));
                errors.0.push(ConfigError {
                    key: name.to_owned(),
                    value: None,
                    origin: Some(origin(line)),
                    problem: format!("must stand in a section, such as {shown}"),
                });
                continue;
            };
            for (field, value) in fields {
                let name = format!("{}.{}", section.get_ref(), field.get_ref());
                let origin = origin(line_of(text, value.span().start));
                let Some(key) = keys.iter().find(|key| key.name == name) else {
                    errors.0.push(unknown(&name, origin, keys));
                    continue;
                };
                match plain_text(value.get_ref()) {
                    Some(text) => self.set(key, text, origin),
                    None => errors.0.push(ConfigError {
                        key: name,
                        value: None,
                        origin: Some(origin),
                        problem: format!("must be {}", key.allowed),
                    }),
                }
            }
        }
    }

    /// `LUCID__...` first, then the names of older documents; two names that disagree are refused, because
    /// whoever set them cannot mean both.
    fn lay_environment(&mut self, environment: &[(String, String)], keys: &[Key], errors: &mut ConfigErrors) -> Vec<String> {
        for (name, text) in environment {
            let Some(path) = name.strip_prefix("LUCID__") else { continue };
            let dotted = path.to_lowercase().replacen("__", ".", 1);
            if let Some(key) = keys.iter().find(|key| key.name == dotted) {
                self.lay_env(key, name, text, errors);
            } else if let Some(key) = keys.iter().find(|key| key.secret && dotted == format!("{}_file", key.name)) {
                self.lay_env_file(key, name, text, errors);
            } else {
                errors.0.push(unknown(&dotted, Origin::Env(name.clone()), keys));
            }
        }
        for key in keys {
            for alias in key.env {
                if let Some(text) = lookup(environment, alias) {
                    self.lay_env(key, alias, text, errors);
                }
                let file_alias = format!("{alias}_FILE");
                if let Some(path) = lookup(environment, &file_alias).filter(|_| key.secret) {
                    self.lay_env_file(key, &file_alias, path, errors);
                }
            }
        }
        if let (Some(port), Some(key)) = (lookup(environment, PORT_ENV), keys.iter().find(|key| key.name == "server.listen")) {
            let host = self.text(&key.name).and_then(|listen| listen.rsplit_once(':')).map_or("127.0.0.1", |(host, _)| host);
            let listen = format!("{host}:{}", port.trim());
            self.lay_env(key, PORT_ENV, &listen, errors);
        }
        let ignored = IGNORED_ENV.iter().filter(|name| lookup(environment, name).is_some());
        ignored.map(|name| format!("{name} is set and ignored: this program needs no cache server")).collect()
    }

    fn lay_env(&mut self, key: &Key, name: &str, text: &str, errors: &mut ConfigErrors) {
        let text = text.trim();
        if let Some(Value { text: other, origin: Origin::Env(other_name), .. }) = self.find(&key.name)
            && !key.same(other, text)
        {
            let problem = format!("{other_name} and {name} both set it, to different values; remove one");
            errors.0.push(ConfigError { key: key.name.clone(), value: None, origin: Some(Origin::Env(name.to_owned())), problem });
            return;
        }
        self.set(key, text.to_owned(), Origin::Env(name.to_owned()));
    }

    fn lay_env_file(&mut self, key: &Key, name: &str, path: &str, errors: &mut ConfigErrors) {
        match read_bounded(Path::new(path)) {
            Ok(text) => self.lay_env(key, name, &text, errors),
            Err(problem) => errors.0.push(ConfigError {
                key: key.name.clone(),
                value: None,
                origin: Some(Origin::Env(name.to_owned())),
                problem: format!("{path} {problem}"),
            }),
        }
    }
}

fn lookup<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Numbers as they were written, so that none becomes a float; `None` for lists, tables and dates.
fn plain_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

pub(super) fn read_bounded(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => Err(format!("is larger than {MAX_FILE_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn problem_of(key: &str, problem: String) -> ConfigError {
    ConfigError { key: key.to_owned(), value: None, origin: None, problem }
}

fn unknown(name: &str, origin: Origin, keys: &[Key]) -> ConfigError {
    let problem = match nearest(name, keys) {
        Some(key) if matches!(origin, Origin::Env(_)) => format!("is no setting; did you mean {}?", key.env_name()),
        Some(key) => format!("is no setting; did you mean {}?", key.name),
        None => "is no setting; `serve --print-config` lists them all".to_owned(),
    };
    ConfigError { key: name.to_owned(), value: None, origin: Some(origin), problem }
}

/// The same field in another section, else the name with the fewest edits, if they are few.
fn nearest<'a>(name: &str, keys: &'a [Key]) -> Option<&'a Key> {
    let field = name.rsplit('.').next().unwrap_or(name);
    let elsewhere = || keys.iter().find(|key| key.field == field);
    let close = keys.iter().map(|key| (edits(name, &key.name), key)).min_by_key(|(edits, _)| *edits);
    close.filter(|(edits, _)| *edits <= 3).map(|(_, key)| key).or_else(elsewhere)
}

/// Levenshtein distance; the names are short, whatever a file contains is cut.
fn edits(a: &str, b: &str) -> usize {
    const LONGEST: usize = 80;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, n) in [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!((edits(a, b), edits(b, a)), (n, n), "{a} {b}");
        }
    }
}

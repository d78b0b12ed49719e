//! The settings in force, with where each comes from, and their change while the manager runs. What a setting means is the configuration's; it
//! stands behind a port, because the api does not know it.

use std::collections::{BTreeMap, HashSet};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::input::Fields;
use super::json::{Json, Path, parse};
use super::shape::{MAX_NAMED, NAME_LEN, inner};
use super::state::AppState;
use crate::domain::refusal::{FieldError, FieldErrors, Refusal};
use crate::storage::core::settings::{self, Change};

/// Settings of one change, at most; there are fewer.
const MAX_CHANGES: usize = 200;
/// Longest text of a setting, in bytes.
const MAX_TEXT: usize = 4_096;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    Default,
    File,
    /// Changed while the manager ran.
    Stored,
    Environment,
    Flag,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SettingView {
    /// `section.field`, as in the file.
    #[schema(example = "payout.threshold_usdt")]
    pub key: String,
    /// As it was written; of a secret only `set` or `not set`.
    #[schema(example = "10")]
    pub value: String,
    #[schema(example = "10")]
    pub default: String,
    pub source: SettingSource,
    /// File and line, environment variable, or flag.
    pub source_name: Option<String>,
    /// Completes "must be ...".
    #[schema(example = "an amount of USDT above 0 and up to 1000000 with at most 6 decimal places")]
    pub allowed: String,
    #[schema(example = "Balance from which a node is paid automatically.")]
    pub meaning: String,
    /// A change takes a restart.
    pub restart_needed: bool,
    /// It was changed, and the manager still goes by the value of its start.
    pub waits_for_restart: bool,
    /// Why it cannot be changed here; null when it can.
    pub why_fixed: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SettingList {
    settings: Vec<SettingView>,
}

/// What the api asks of the configuration. `app` brings it along.
pub trait Configuration: Send + Sync {
    /// Why this setting cannot be changed here; None when it can.
    fn why_fixed(&self, key: &str) -> Option<String>;
    /// Checks the settings with `stored` (key, text) among them, by the rules of the file; every one that is wrong is named. What comes of it puts them in
    /// force.
    fn with(&self, stored: &[(String, String)]) -> Result<Box<dyn FnOnce() + Send>, Vec<FieldError>>;
}

/// Settings in force
#[utoipa::path(get, path = "/settings", tag = "operations", security(("access" = ["settings:read"])), responses((status = 200, body = SettingList)))]
pub async fn list(State(state): State<AppState>) -> Result<Json<SettingList>, ApiError> {
    Ok(Json(SettingList { settings: state.settings().listed.clone() }))
}

/// One setting and what it becomes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document's; an entry is read by `entry_of`")]
pub struct SettingChange {
    #[schema(example = "payout.threshold_usdt")]
    key: String,
    /// A text, or a number or switch as it would stand in the file.
    #[schema(example = "12.5")]
    value: String,
}

/// A list of changes; an object of keys and values is taken too.
#[derive(utoipa::ToSchema)]
#[schema(example = json!([{ "key": "payout.threshold_usdt", "value": "12.5" }, { "key": "log.level", "value": "debug" }]))]
#[expect(dead_code, reason = "the document's; the body is read by `changes_of`")]
pub struct SettingChanges(Vec<SettingChange>);

/// What became of a change of settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SettingsChanged {
    /// Those that were named, as they are now.
    settings: Vec<SettingView>,
    /// One of them waits for a restart of the manager.
    restart_needed: bool,
}

/// Change settings
///
/// All of them or, when one is wrong, none. Stored settings stand above the file and below environment and flags. Some of them decide what is paid and who
/// may enter, so the session has to be confirmed for any.
#[utoipa::path(put, path = "/settings", tag = "operations", security(("access" = ["settings:write"])), request_body = SettingChanges,
    extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = SettingsChanged), (status = 400, body = ErrorBody)))]
pub async fn change(
    State(state): State<AppState>,
    caller: Caller,
    Json(body): Json<Box<RawValue>>,
) -> Result<Json<SettingsChanged>, ApiError> {
    let mut errors = FieldErrors::default();
    let wanted = changes_of(&state, &body, &mut errors)?;
    let wanted: Vec<(String, Option<String>)> = wanted.into_iter().map(|(key, text)| (key, Some(text))).collect();
    apply(&state, &caller, wanted, errors).await
}

/// Take a setting back to what the file says
#[utoipa::path(delete, path = "/settings/{key}", tag = "operations", security(("access" = ["settings:write"])), params(("key" = String, Path, example = "log.level")),
    extensions(("x-fresh-factor" = json!(true))), responses((status = 200, body = SettingsChanged), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody, description = "there is no such setting")))]
pub async fn reset(State(state): State<AppState>, caller: Caller, Path(key): Path<String>) -> Result<Json<SettingsChanged>, ApiError> {
    if !state.settings().listed.iter().any(|setting| setting.key == key) {
        return Err(Refusal::SettingNotFound.into());
    }
    apply(&state, &caller, vec![(key, None)], FieldErrors::default()).await
}

/// Keys and texts of a body; what is no list and no object is refused at once, what is wrong with one entry is added to `errors`.
fn changes_of(state: &AppState, body: &RawValue, errors: &mut FieldErrors) -> Result<Vec<(String, String)>, ApiError> {
    let text = body.get().as_bytes();
    let is_few = |count: usize| match (1..=MAX_CHANGES).contains(&count) {
        true => Ok(()),
        false => Err(ApiError::malformed("", format!("must have 1 to {MAX_CHANGES} settings"))),
    };
    let pairs: Vec<(String, Box<RawValue>)> = if text.first() == Some(&b'[') {
        let entries = parse::<Vec<Box<RawValue>>>(text)?;
        is_few(entries.len())?;
        entries.iter().enumerate().filter_map(|(n, entry)| entry_of(entry, &format!("[{n}]"), errors)).collect()
    } else {
        let Fields(pairs) = parse(text)?;
        is_few(pairs.len())?;
        pairs
    };
    let (mut seen, mut wanted) = (HashSet::new(), Vec::with_capacity(pairs.len()));
    for (key, value) in pairs {
        if !seen.insert(key.clone()) {
            errors.add(key, "is there twice");
        } else if let Some(why) = state.configuration.why_fixed(&key) {
            errors.add(key, why);
        } else if let Some(text) = plain_text(&value) {
            wanted.push((key, text));
        } else {
            errors.add(key, format!("must be a text, a number or a switch of at most {MAX_TEXT} bytes"));
        }
    }
    Ok(wanted)
}

/// One entry of a list. What is wrong with its shape has its place for a name, because it may have no key.
fn entry_of(entry: &RawValue, at: &str, errors: &mut FieldErrors) -> Option<(String, Box<RawValue>)> {
    let Ok(Fields(given)) = serde_json::from_str(entry.get()) else {
        errors.add(at, "must be an object with key and value");
        return None;
    };
    for name in ["key", "value"] {
        let times = given.iter().filter(|(given, _)| given == name).count();
        errors.require(times < 2, &format!("{at}.{name}"), "comes twice");
    }
    let mut fields: BTreeMap<String, Box<RawValue>> = given.into_iter().collect();
    let (key, value) = (fields.remove("key"), fields.remove("value"));
    errors.require(value.is_some(), &format!("{at}.value"), "is missing");
    let text: Option<String> = key.as_ref().and_then(|key| serde_json::from_str(key.get()).ok());
    errors.require(text.is_some(), &format!("{at}.key"), if key.is_some() { "must be a text" } else { "is missing" });
    let more = MAX_NAMED.saturating_sub(errors.0.len());
    for name in fields.keys().take(more) {
        errors.add(inner(at, &name.chars().take(NAME_LEN).collect::<String>()), "is not a field of this request");
    }
    text.zip(value)
}

/// Numbers as they were written, so that none becomes a float.
fn plain_text(value: &RawValue) -> Option<String> {
    let raw = value.get();
    let text = match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok()?,
        b'0'..=b'9' | b'-' | b't' | b'f' => raw.to_owned(),
        _ => return None,
    };
    (text.len() <= MAX_TEXT).then_some(text)
}

/// Checks, stores and puts in force; `None` takes a stored text away.
/// `errors` are those of the request itself.
async fn apply(
    state: &AppState,
    caller: &Caller,
    wanted: Vec<(String, Option<String>)>,
    mut errors: FieldErrors,
) -> Result<Json<SettingsChanged>, ApiError> {
    let _turn = state.changing_settings.lock().await;
    let mut stored: BTreeMap<String, String> = settings::all(&state.store.read()?, &state.store.secrets)?.into_iter().collect();
    for (key, text) in &wanted {
        match text {
            Some(text) => stored.insert(key.clone(), text.clone()),
            None => stored.remove(key),
        };
    }
    let stored: Vec<(String, String)> = stored.into_iter().collect();
    let checked = state.configuration.with(&stored).map_err(|found| errors.0.extend(found));
    errors.finish()?;
    let Ok(put_in_force) = checked else { return Err(ApiError::panicked()) };
    let before = state.settings();
    let change = |(key, text): &(String, Option<String>)| {
        let shown = before.listed.iter().find(|setting| setting.key == *key).map_or("", |setting| setting.value.as_str());
        let is_secret = matches!(shown, "set" | "not set");
        let remark = match text {
            None => format!("{shown} -> as the file says"),
            Some(text) if text.is_empty() => format!("{shown} -> empty"),
            Some(_) if is_secret => format!("{shown} -> set"),
            Some(text) => format!("{shown} -> {text}"),
        };
        let sealed = text.as_ref().map(|text| settings::seal(&state.store.secrets, &state.entropy, key, text));
        Change { key: key.clone(), sealed, remark }
    };
    let changes: Vec<Change> = wanted.iter().map(change).collect();
    let act = caller.act(state.now());
    state.store.write(move |tx| settings::change(tx, &act, &changes)).await?;
    put_in_force();
    let named = |setting: &&SettingView| wanted.iter().any(|(key, _)| *key == setting.key);
    let settings: Vec<SettingView> = state.settings().listed.iter().filter(named).cloned().collect();
    let restart_needed = settings.iter().any(|setting| setting.waits_for_restart);
    Ok(Json(SettingsChanged { settings, restart_needed }))
}

/// For tests of the other routes: nothing can be changed.
#[cfg(test)]
pub struct FixedConfiguration;

#[cfg(test)]
impl Configuration for FixedConfiguration {
    fn why_fixed(&self, _: &str) -> Option<String> {
        Some("cannot be changed".into())
    }

    fn with(&self, _: &[(String, String)]) -> Result<Box<dyn FnOnce() + Send>, Vec<FieldError>> {
        Ok(Box::new(|| ()))
    }
}

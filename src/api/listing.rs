//! What the queries of lists have in common: words out of a few, an order, a text to search for. What is wrong is collected, so that one answer names
//! every parameter.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::refusal::FieldErrors;
use crate::domain::time::Timestamp;

/// Longest search text, in characters.
pub const MAX_SEARCH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ListOrder)]
pub enum Order {
    Asc,
    Desc,
}

/// A switch in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOff {
    True,
    False,
}

/// A parameter that is one of a few words; `allowed` completes "must be".
pub fn word<T: DeserializeOwned>(errors: &mut FieldErrors, field: &str, text: Option<&str>, allowed: &str) -> Option<T> {
    let word = serde_json::from_value(text?.into()).ok();
    errors.require(word.is_some(), field, format!("must be {allowed}"));
    word
}

/// What most lists are asked for alike: by what and in which direction, and which text to search for.
#[derive(Debug)]
pub struct Asked<S> {
    pub sort: S,
    pub descending: bool,
    search: Option<String>,
}

impl<S: DeserializeOwned> Asked<S> {
    /// Of the parameters `sort`, `order` and `search`; `sorts` completes "must be".
    pub fn read(errors: &mut FieldErrors, [sort, order, text]: [&Option<String>; 3], sorts: &str, default: (S, Order)) -> Asked<S> {
        Asked {
            sort: word(errors, "sort", sort.as_deref(), sorts).unwrap_or(default.0),
            descending: descending(errors, order.as_deref(), default.1),
            search: search(errors, text.as_deref()),
        }
    }

    pub fn finds(&self, texts: &[&str]) -> bool {
        found(self.search.as_ref(), texts)
    }
}

/// A time; None when it is absent or wrong, which `errors` then says.
pub fn time(errors: &mut FieldErrors, field: &str, text: Option<&str>) -> Option<Timestamp> {
    let parsed = text.map(Timestamp::parse_rfc3339);
    errors.require(parsed != Some(None), field, "must be a time such as 2026-01-31T12:00:00Z");
    parsed.flatten()
}

/// True for descending.
pub fn descending(errors: &mut FieldErrors, text: Option<&str>, default: Order) -> bool {
    word(errors, "order", text, "asc or desc").unwrap_or(default) == Order::Desc
}

/// The text to search for, in lower case.
pub fn search(errors: &mut FieldErrors, text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    errors.require(text.chars().count() <= MAX_SEARCH, "search", "must have at most 100 characters");
    Some(text.to_lowercase())
}

/// One of these texts holds what is searched for, in any case.
pub fn found(search: Option<&String>, texts: &[&str]) -> bool {
    search.is_none_or(|search| texts.iter().any(|text| text.to_lowercase().contains(search.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_parameter_is_named() {
        let mut errors = FieldErrors::default();
        assert_eq!(word::<Order>(&mut errors, "order", Some("asc"), ""), Some(Order::Asc));
        assert!(descending(&mut errors, None, Order::Desc) && !descending(&mut errors, Some("asc"), Order::Desc));
        assert_eq!(search(&mut errors, Some("ÄB")), Some("äb".into()));
        assert_eq!((search(&mut errors, None), search(&mut errors, Some(""))), (None, None));
        assert!(errors.0.is_empty());
        descending(&mut errors, Some("down"), Order::Asc);
        search(&mut errors, Some(&"x".repeat(101)));
        let fields: Vec<_> = errors.0.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["order", "search"]);
    }

    #[test]
    fn any_of_the_texts_may_hold_it() {
        assert!(found(None, &[]) && found(Some(&"at".to_owned()), &["x", "ATTIC"]));
        assert!(!found(Some(&"at".to_owned()), &["x", "a"]));
    }
}

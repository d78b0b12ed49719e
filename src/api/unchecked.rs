//! Request bodies that have rules. A handler gets at one only through `Unchecked::check`, with its rules; so one answer names every field that is
//! wrong, whether the parser, the document or a rule says so.
//!
//! The rules are asked about a body that does not parse, too. Its wrong places are filled (`mend`), several times in different ways, and what a rule
//! says counts when it says so of every one: it is true then whatever should have stood there. A rule that compares a right field with a wrong one
//! stays silent that way, and what comes of the filled bodies is thrown away.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::json::{parse, read};
use super::mend::{Filling, mended};
use super::shape::{MAX_NAMED, Shape, with};
use crate::domain::refusal::{FieldError, FieldErrors};

/// A body that has yet to be checked by the rules of its route.
#[derive(Debug)]
pub struct Unchecked<T>(Result<T, Box<Refused>>);

/// A body that is refused, and what is needed to ask rules about the rest of it.
#[derive(Debug)]
pub struct Refused {
    error: ApiError,
    shape: Shape,
    body: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Unchecked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Unchecked<T>, ApiError> {
        read(request).await
    }
}

impl<T: DeserializeOwned> Unchecked<T> {
    /// Of a body that was read in time and in size.
    pub fn of(shape: Shape, body: Bytes) -> Unchecked<T> {
        let parsed = parse(&body).and_then(|value| shape.refuse_lists(&body).map(|()| value));
        Unchecked(parsed.map_err(|error| {
            let mut error = shape.complete(error, &body);
            // What the document does not say and the parser does: each time it is told of one more field.
            while let Some(found) = next_wrong::<T>(&shape, &body, &error) {
                error = with(error, FieldErrors(vec![found]));
            }
            Box::new(Refused { error, shape, body })
        }))
    }

    /// What `rules` make of the body, when neither they nor its parser found anything wrong. They are called several times for a body that is refused,
    /// with what was found already in `errors`: they must do nothing but look.
    pub fn check<U>(self, rules: impl Fn(T, &mut FieldErrors) -> U) -> Result<U, ApiError> {
        match self.0 {
            Ok(body) => {
                let mut errors = FieldErrors::default();
                let made = rules(body, &mut errors);
                errors.finish()?;
                Ok(made)
            }
            Err(refused) => Err(refused.complete(rules)),
        }
    }

    /// A body without rules.
    pub fn parsed(self) -> Result<T, ApiError> {
        self.0.map_err(|refused| refused.error)
    }
}

impl Refused {
    fn complete<T: DeserializeOwned, U>(self, rules: impl Fn(T, &mut FieldErrors) -> U) -> ApiError {
        let wrong = &self.error.fields;
        let mut certain: Option<Vec<FieldError>> = None;
        for filling in Filling::ALL {
            let filled = reading::<T>(&self.shape, &self.body, wrong, filling);
            let Some(Ok(body)) = filled else { return self.error };
            let mut errors = FieldErrors(wrong.clone());
            let _ = rules(body, &mut errors);
            let found = errors.0.split_off(wrong.len());
            certain = Some(match certain {
                None => found,
                Some(known) => known.into_iter().filter(|error| found.iter().any(|other| other.field == error.field)).collect(),
            });
        }
        let mut certain = certain.unwrap_or_default();
        certain.retain(|error| !wrong.iter().any(|place| is_within(&error.field, &place.field)));
        with(self.error, FieldErrors(certain))
    }
}

/// The body with its wrong places filled, or what the parser says of that. None: there is nothing that can be filled.
fn reading<T: DeserializeOwned>(shape: &Shape, body: &[u8], wrong: &[FieldError], filling: Filling) -> Option<Result<T, ApiError>> {
    let has_places = (1..MAX_NAMED).contains(&wrong.len()) && shape.reads(body);
    has_places.then(|| mended(shape, body, wrong, filling)).flatten().map(|text| parse(text.as_bytes()))
}

/// A field that is not known to be wrong yet.
fn next_wrong<T: DeserializeOwned>(shape: &Shape, body: &[u8], error: &ApiError) -> Option<FieldError> {
    let found = reading::<T>(shape, body, &error.fields, Filling::Absent)?.err()?.fields.into_iter().next()?;
    error.fields.iter().all(|known| known.field != found.field).then_some(found)
}

/// `hardware_info.network[0].interface` is within `hardware_info`, within `hardware_info.network`, and within itself.
fn is_within(field: &str, place: &str) -> bool {
    field.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

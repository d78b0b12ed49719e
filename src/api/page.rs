//! Pages of lists: `?page=&limit=` in, `pagination` out.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::json::Query;
use crate::domain::refusal::FieldErrors;

pub const DEFAULT_LIMIT: u32 = 20;
pub const MAX_LIMIT: u32 = 100;
/// The farthest page: what no list can reach is a mistake.
pub const MAX_PAGE: u32 = 100_000;

/// Which page is asked for; `page` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub page: u32,
    pub limit: u32,
}

impl Page {
    /// Rows before this page.
    pub fn offset(self) -> usize {
        (self.page as usize - 1).saturating_mul(self.limit())
    }

    /// Rows of a page.
    pub fn limit(self) -> usize {
        self.limit as usize
    }

    /// The envelope of this page of a list of `total` rows.
    pub fn of(self, total: u64) -> Pagination {
        let pages = total.div_ceil(u64::from(self.limit));
        Pagination {
            page: self.page,
            limit: self.limit,
            total,
            pages,
            has_next: u64::from(self.page) < pages,
            has_prev: self.page > 1 && pages > 0,
        }
    }

    /// The envelope, from a number of rows as the store counts them.
    pub fn of_rows(self, total: usize) -> Pagination {
        self.of(u64::try_from(total).unwrap_or(u64::MAX))
    }

    /// This page of a list that is in memory as a whole.
    pub fn slice<T>(self, rows: Vec<T>) -> (Vec<T>, Pagination) {
        let pagination = self.of_rows(rows.len());
        (rows.into_iter().skip(self.offset()).take(self.limit()).collect(), pagination)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Pagination {
    pub page: u32,
    pub limit: u32,
    /// Rows of the whole list.
    pub total: u64,
    pub pages: u64,
    pub has_next: bool,
    pub has_prev: bool,
}

/// For `params(PageQuery)` of a route.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// From 1.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100_000, default = 1)]
    page: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Page, ApiError> {
        let Query(raw) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        let mut errors = FieldErrors::default();
        let page = raw.page.map_or(Some(1), |text| digits(&text)).filter(|page| (1..=MAX_PAGE).contains(page));
        errors.require(page.is_some(), "page", "must be a whole number from 1 to 100000");
        let limit = limit(&mut errors, raw.limit);
        errors.finish()?;
        Ok(Page { page: page.unwrap_or(1), limit })
    }
}

/// Rows of a page, the default where none is given; what is wrong is added to `errors`.
pub fn limit(errors: &mut FieldErrors, text: Option<String>) -> u32 {
    let limit = text.map_or(Some(DEFAULT_LIMIT), |text| digits(&text)).filter(|limit| (1..=MAX_LIMIT).contains(limit));
    errors.require(limit.is_some(), "limit", "must be a whole number from 1 to 100");
    limit.unwrap_or(DEFAULT_LIMIT)
}

/// Digits only: the standard parser also takes a plus sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;

    async fn page(query: &str) -> Result<Page, ApiError> {
        let request = Request::get(format!("/x{query}")).body(Body::empty()).unwrap();
        Page::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn pages_keep_their_bounds() {
        assert_eq!(page("").await, Ok(Page { page: 1, limit: 20 }));
        assert_eq!(page("?page=3&limit=100&status=active").await, Ok(Page { page: 3, limit: 100 }));
        assert_eq!(page("?page=100000&limit=1").await, Ok(Page { page: MAX_PAGE, limit: 1 }));
        for bad in ["?page=0", "?page=x", "?limit=0", "?limit=101", "?limit=-1", "?page=", "?page=100001", "?page=%2B1"] {
            assert_eq!(page(bad).await.unwrap_err().fields.len(), 1, "{bad}");
        }
        assert_eq!(page("?page=0&limit=0").await.unwrap_err().fields.len(), 2);
    }

    #[test]
    fn the_envelope_counts() {
        let rows = || (1..=45).collect::<Vec<u32>>();
        let (third, envelope) = Page { page: 3, limit: 20 }.slice(rows());
        assert_eq!(third, [41, 42, 43, 44, 45]);
        assert_eq!((envelope.pages, envelope.total, envelope.has_next, envelope.has_prev), (3, 45, false, true));
        let (beyond, envelope) = Page { page: u32::MAX, limit: 100 }.slice(rows());
        assert!(beyond.is_empty() && envelope.has_prev && !envelope.has_next);
        let empty = Page { page: 1, limit: 20 }.of(0);
        assert!(!empty.has_next && !empty.has_prev && empty.pages == 0);
    }
}

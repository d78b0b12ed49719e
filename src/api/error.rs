//! The one place that turns refusals, faults and broken requests into statuses, codes and the error body of the contract.
//!
//! A handler answers an `ApiError`; the outermost middleware renders it, because only there request id and time are known.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::audit::Actor;
use crate::domain::enrolment_request::ASK_AGAIN_SECONDS;
use crate::domain::refusal::{FieldError, Refusal};
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, WriteError};

pub const SERVICE: &str = "lucid-node-management";

/// Seconds after which a client may try again when the store is busy.
const RETRY_SECONDS: u32 = 2;
/// The same when its disk is full: somebody, or the next look at the disk, has to make room.
const RETRY_WHEN_FULL_SECONDS: u32 = 60;

/// A refused or failed request on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    /// The number in `LUCID_ERR_NNNN`.
    pub code: u16,
    /// Stable name: of the refusal, or of what went wrong here.
    pub name: &'static str,
    pub message: String,
    pub fields: Vec<FieldError>,
    pub retry_after_seconds: Option<u32>,
    /// Who was refused, where the route knows better than `Caller`: for the audit log. Boxed, because every handler carries this type.
    pub actor: Option<Box<Actor>>,
    /// What the refusal is about, where that is more than the route: for the audit log.
    pub subject: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, code: u16, name: &'static str, message: impl Into<String>) -> ApiError {
        let message = message.into();
        ApiError { status, code, name, message, fields: Vec::new(), retry_after_seconds: None, actor: None, subject: None }
    }

    /// The body or the query is not what the route reads. `field` may be empty.
    pub fn malformed(field: impl Into<String>, message: impl Into<String>) -> ApiError {
        let (field, message) = (field.into(), message.into());
        let mut error = ApiError::new(StatusCode::BAD_REQUEST, 1001, "Malformed", message.clone());
        if !field.is_empty() {
            error.message = format!("{field}: {message}");
            error.fields.push(FieldError { field, message });
        }
        error
    }

    /// Says of a refusal that only the store can know (a name is taken, a pool is not there) which field of the request it is about. `of` are the route's.
    pub fn naming<const N: usize, E: Into<ApiError>>(of: [(Refusal, &'static str); N]) -> impl FnOnce(E) -> ApiError {
        move |error| {
            let mut error: ApiError = error.into();
            if let Some((_, field)) = of.iter().find(|(refusal, _)| refusal.name() == error.name) {
                error.fields.push(FieldError { field: (*field).to_owned(), message: error.message.clone() });
            }
            error
        }
    }

    pub fn too_large(limit_bytes: usize) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, 1003, "BodyTooLarge", format!("the body is larger than {limit_bytes} bytes"))
    }

    pub fn not_json() -> ApiError {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 1004, "NotJson", "send the body as application/json")
    }

    /// The body is compressed, or changed in some other way that nobody here undoes.
    pub fn encoded(how: &str) -> ApiError {
        let message = format!("send the body as it is, without Content-Encoding: {how}");
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 1009, "BodyEncoded", message)
    }

    pub fn not_utf8(charset: &str) -> ApiError {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 1010, "NotUtf8", format!("send the body in UTF-8, not in {charset}"))
    }

    pub fn method_not_allowed() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 1005, "MethodNotAllowed", "this path does not answer this method")
    }

    pub fn no_such_route() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, 1006, "RouteNotFound", "no such route")
    }

    pub fn body_too_slow() -> ApiError {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, 1007, "BodyTooSlow", "the body did not arrive in time")
    }

    pub fn upgrade_refused() -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, 1008, "UpgradeRefused", "only HTTP/1.1 is spoken here")
    }

    pub fn panicked() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, 5000, "Internal", "an internal error; the log has it under this request id")
    }

    pub fn throttled(retry_after_seconds: u32) -> ApiError {
        ApiError { retry_after_seconds: Some(retry_after_seconds.max(1)), ..Refusal::Throttled.into() }
    }

    /// More than `limit` requests in a minute.
    pub fn rate_limited(limit: u32, retry_after_seconds: u32) -> ApiError {
        let message = format!("more than {limit} requests in a minute; wait {retry_after_seconds} s");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, 4291, "RateLimited", message);
        ApiError { retry_after_seconds: Some(retry_after_seconds), ..error }
    }

    /// The caller has as many event streams as one may have.
    pub fn too_many_streams(limit: usize) -> ApiError {
        let message = format!("{limit} event streams of yours are open, which is as many as one may have; end one");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, 4291, "TooManyStreams", message);
        ApiError { retry_after_seconds: Some(RETRY_SECONDS), ..error }
    }

    /// Nothing was done; trying again later is right.
    pub fn unavailable(name: &'static str, message: &str) -> ApiError {
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, 5031, name, message);
        ApiError { retry_after_seconds: Some(RETRY_SECONDS), ..error }
    }

    pub fn by(mut self, actor: Actor) -> ApiError {
        self.actor = Some(Box::new(actor));
        self
    }

    pub fn about(mut self, subject: Option<String>) -> ApiError {
        self.subject = subject;
        self
    }

    /// Somebody tried what they may not: the audit log wants it. Visitors without any credentials are no such thing, nor is who gave the right
    /// password and is asked for the code, or came in plain HTTP; a second key for a node and a report that was heard before are, although they end
    /// as conflicts.
    pub fn is_access_refusal(&self) -> bool {
        let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&self.status);
        let impostor = [Refusal::NodeClaimed, Refusal::ReportReplayed].iter().any(|refusal| refusal.name() == self.name);
        let asked = [Refusal::NotSignedIn, Refusal::TotpNeeded, Refusal::PlainHttpRefused];
        let asked = asked.iter().any(|refusal| refusal.name() == self.name);
        (denied && !asked) || impostor
    }

    /// The code as clients see it.
    pub fn code_text(&self) -> String {
        format!("LUCID_ERR_{:04}", self.code)
    }

    /// The body as the contract has it.
    pub fn render(self, request_id: &str, at: Timestamp) -> Response {
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code_text(),
                message: self.message,
                details: ErrorFields { name: self.name.to_owned(), fields: self.fields, retry_after: self.retry_after_seconds },
                request_id: request_id.to_owned(),
                timestamp: at.rfc3339(),
                service: SERVICE.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.name == "BodyEncoded" {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Every error answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorDetail {
    /// `LUCID_ERR_NNNN`: 1xxx malformed, 2xxx access, 4291 throttled, others about what was asked for.
    pub code: String,
    pub message: String,
    pub details: ErrorFields,
    pub request_id: String,
    /// RFC 3339, UTC.
    pub timestamp: String,
    pub service: String,
    pub version: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorFields {
    /// Stable name of the refusal.
    pub name: String,
    /// Every field that broke a rule.
    pub fields: Vec<FieldError>,
    /// Seconds after which the same request may be sent again, as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// Status and code of each refusal. Codes 5001 to 5010 are the owner's; 4041, 4091 and 4221 are what they have no number for.
fn status_and_code(refusal: &Refusal) -> (StatusCode, u16) {
    const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
    const CONFLICT: StatusCode = StatusCode::CONFLICT;
    const RULE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
    const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
    match refusal {
        Refusal::Invalid(_) => (StatusCode::BAD_REQUEST, 1002),
        Refusal::Rule(name, _) | Refusal::Broken(name, _) => (RULE, rule_code(name)),
        Refusal::NodeNotFound => (NOT_FOUND, 5001),
        Refusal::NodeExists | Refusal::NodeNameTaken => (CONFLICT, 5007),
        Refusal::NodeHasMoney | Refusal::NodeLeaving | Refusal::NodeSuspended | Refusal::NotSuspended | Refusal::AppealOpen => {
            (CONFLICT, 4091)
        }
        Refusal::MaintenanceOverlaps | Refusal::MaintenanceOver => (CONFLICT, 4091),
        Refusal::MaintenanceNotFound | Refusal::FinalPayoutNotFound | Refusal::TransferNotFound => (NOT_FOUND, 4041),
        Refusal::PayoutUnresolved => (CONFLICT, 4091),
        Refusal::PoolNotFound => (NOT_FOUND, 5002),
        Refusal::PoolExists => (CONFLICT, 5008),
        Refusal::PoolNotEmpty | Refusal::PoolProtected | Refusal::AlreadyMember => (CONFLICT, 4091),
        Refusal::NotAMember => (NOT_FOUND, 4041),
        Refusal::PoolFull | Refusal::FleetFull => (RULE, 5004),

        Refusal::TokenUnknown | Refusal::TokenWrongSecret | Refusal::TokenExpired | Refusal::TokenUsed | Refusal::TokenRevoked => {
            (UNAUTHORIZED, 2006)
        }
        Refusal::TokenForOtherManager => (FORBIDDEN, 2006),
        Refusal::SignatureForged | Refusal::ChallengeUnknown | Refusal::ChallengeExpired => (UNAUTHORIZED, 2007),
        Refusal::KeyOnOtherHardware => (FORBIDDEN, 2008),
        // Neither done nor refused.
        Refusal::ApprovalPending => (StatusCode::ACCEPTED, 2012),
        Refusal::EnrolmentRejected => (FORBIDDEN, 2013),
        Refusal::EnrolmentRequestNotFound => (NOT_FOUND, 4041),
        Refusal::EnrolmentRequestDecided => (CONFLICT, 4091),
        Refusal::NodeClaimed | Refusal::ReportReplayed => (CONFLICT, 4091),
        Refusal::ProtocolTooNew => (RULE, 4221),

        Refusal::SetupDone => (CONFLICT, 4091),
        Refusal::NotSignedIn | Refusal::SessionUnknown => (UNAUTHORIZED, 2001),
        Refusal::WrongCredentials => (UNAUTHORIZED, 2002),
        Refusal::TotpNeeded => (UNAUTHORIZED, 2010),
        Refusal::TotpWrong => (UNAUTHORIZED, 2011),
        Refusal::TotpEnabled | Refusal::TotpNotBegun | Refusal::TotpNotEnabled => (CONFLICT, 4091),
        Refusal::NotAllowed | Refusal::OwnSuspension | Refusal::PriceNotAllowed | Refusal::NotYours | Refusal::PersonNeeded => {
            (FORBIDDEN, 2003)
        }
        Refusal::WrongOrigin => (FORBIDDEN, 2004),
        Refusal::HostNotAllowed => (StatusCode::MISDIRECTED_REQUEST, 2020),
        Refusal::PlainHttpRefused => (FORBIDDEN, 2021),
        Refusal::SetupCodeWrong => (UNAUTHORIZED, 2005),
        Refusal::FreshFactorNeeded => (FORBIDDEN, 2009),
        Refusal::Throttled => (StatusCode::TOO_MANY_REQUESTS, 4291),
        Refusal::AlertResolved => (CONFLICT, 4091),
        Refusal::AllocationNotFound
        | Refusal::ArchiveNotFound
        | Refusal::OutputNotKept
        | Refusal::SettingNotFound
        | Refusal::UserNotFound
        | Refusal::AlertNotFound
        | Refusal::AppealNotFound
        | Refusal::EpochNotFound
        | Refusal::ProofNotThere
        | Refusal::ProofNotKept
        | Refusal::SessionNotFound
        | Refusal::ApiTokenNotFound => (NOT_FOUND, 4041),
        Refusal::UserExists | Refusal::LastSuperAdmin | Refusal::PayoutMoved | Refusal::StorageCheckRunning | Refusal::BackupRunning => {
            (CONFLICT, 4091)
        }
        Refusal::TransactionKnown | Refusal::AuditCheckRunning | Refusal::AlreadyErased | Refusal::CompactionRunning => (CONFLICT, 4091),
        Refusal::ReplicationNotConfigured => (CONFLICT, 4091),
        Refusal::IdempotencyKeyReused | Refusal::IdempotencyInProgress | Refusal::IdempotencyAnswerNotKept => (CONFLICT, 4092),

        Refusal::AddressNotFound | Refusal::PayoutNotFound => (NOT_FOUND, 5006),
        Refusal::CurrencyNotPayable => (RULE, 5006),
        Refusal::BatchNotFound => (NOT_FOUND, 5010),
        Refusal::BatchExists | Refusal::BatchOver => (CONFLICT, 5010),
        Refusal::ScheduleNotFound | Refusal::DeliveryNotFound => (NOT_FOUND, 4041),
        Refusal::ScheduleMoved | Refusal::DeliveryAlive => (CONFLICT, 4091),
        Refusal::FleetUnreachable | Refusal::FleetBusy => (StatusCode::SERVICE_UNAVAILABLE, 5031),
        Refusal::ClockUntrusted => (StatusCode::SERVICE_UNAVAILABLE, 5032),
        Refusal::DayNotFound => (NOT_FOUND, 4041),
        Refusal::EpochTooYoung | Refusal::EpochsBehind | Refusal::DayKeySealed => (CONFLICT, 4091),
    }
}

fn rule_code(name: &str) -> u16 {
    match name {
        "InvalidNodeStatus" => 5003,
        "ResourceLimitExceeded" => 5004,
        "InvalidAllocation" => 5009,
        "CurrencyNotPayable" => 5006,
        "PayoutsRefused" => 5010,
        _ => 4221,
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let (status, code) = status_and_code(&refusal);
        let error = ApiError::new(status, code, refusal.name(), refusal.to_string());
        let retry_after_seconds = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_SECONDS),
            StatusCode::ACCEPTED => Some(ASK_AGAIN_SECONDS),
            _ => None,
        };
        let fields = if let Refusal::Invalid(fields) | Refusal::Broken(_, fields) = refusal { fields } else { Vec::new() };
        ApiError { fields, retry_after_seconds, ..error }
    }
}

impl From<Fault> for ApiError {
    /// What failed is logged here, once, and not told to the caller.
    fn from(fault: Fault) -> ApiError {
        if fault == Fault::Full {
            // Said by health and an alert; a line for each request would fill the log.
            tracing::debug!("a request was refused: the disk is full");
            let message = "the disk of the manager is full; nothing was changed";
            return ApiError { retry_after_seconds: Some(RETRY_WHEN_FULL_SECONDS), ..ApiError::unavailable("StorageFull", message) };
        }
        tracing::error!(%fault, "a request failed in the store");
        match fault {
            Fault::Database(_) | Fault::Damaged(_) | Fault::Full => {
                ApiError::unavailable("StoreFailed", "the store failed; nothing was changed")
            }
            Fault::Record { .. } | Fault::Invariant(_) | Fault::Books { .. } | Fault::Panic => ApiError::panicked(),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        match error {
            WriteError::Refused(refusal) => refusal.into(),
            WriteError::Busy => ApiError::unavailable("StoreBusy", "the store has too much to write; nothing was changed"),
            WriteError::Fault(fault) => fault.into(),
            WriteError::Unknown(why) => {
                tracing::error!(why, "the outcome of a write is unknown");
                ApiError::unavailable("OutcomeUnknown", "the write may or may not have happened; read before trying again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_do_not_leak_and_busy_asks_to_come_back() {
        let error = ApiError::from(Fault::Database("/secret/path".into()));
        assert_eq!((error.status, error.retry_after_seconds), (StatusCode::SERVICE_UNAVAILABLE, Some(RETRY_SECONDS)));
        assert!(!error.message.contains("secret"));
        let full = ApiError::from(WriteError::Fault(Fault::Full));
        assert_eq!((full.status, full.name, full.retry_after_seconds), (StatusCode::SERVICE_UNAVAILABLE, "StorageFull", Some(60)));
        assert_eq!(ApiError::from(Fault::Panic).status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(ApiError::from(WriteError::Busy).retry_after_seconds, Some(RETRY_SECONDS));
        assert_eq!(ApiError::from(WriteError::Refused(Refusal::PoolFull)).code, 5004);
    }

    #[test]
    fn every_offending_field_is_listed() {
        let fields = vec![FieldError { field: "a".into(), message: "x".into() }, FieldError { field: "b".into(), message: "y".into() }];
        let error = ApiError::from(Refusal::Invalid(fields.clone()));
        assert_eq!((error.status, error.code, error.fields), (StatusCode::BAD_REQUEST, 1002, fields));
    }
}

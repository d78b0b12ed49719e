//! Many payouts in one request: all of them are reserved in one transaction, or none is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path, Query};
use super::listing::{time, word};
use super::page::{Page, PageQuery, Pagination};
use super::payout_requests::{LeftOutView, PayoutRequest, granted, wishes};
use super::payouts::{PayoutView, shows_address};
use super::reads::{self, Names, Person};
use super::state::AppState;
use super::unchecked::Unchecked;
use crate::domain::batch::{self, Batch, BatchStatus, MAX_AHEAD_DAYS, NewBatch, Sums, Wish, content, estimated_end};
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::ledger::Settlement;
use crate::domain::money::{Currency, Units};
use crate::domain::payout::{Priority, Source};
use crate::domain::refusal::{FieldError, FieldErrors, Refusal};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Target, check_public};
use crate::live::{Event, Job};
use crate::storage::core::audit;
use crate::storage::core::batches::{self, Filter};
use crate::storage::fault::{Fault, TxError};
use crate::storage::planning::{Against, Earned, Plans, reserve, short_of};
use crate::storage::table::WriteTx;

/// Names of refusals.
pub const IN_THE_PAST: &str = "ScheduledInThePast";
pub const TOO_FAR: &str = "ScheduledTooFar";
pub const TOO_MANY: &str = "TooManyQueuedBatches";

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchPayoutRequest {
    /// Names the batch: the same again with the same content is answered alike and done once. Absent: one is made.
    #[schema(pattern = "^batch_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "batch_2026-11")]
    batch_id: Option<String>,
    #[schema(min_items = 1, max_items = 1000)]
    payout_requests: Vec<PayoutRequest>,
    /// Of the requests that have none.
    #[schema(default = "normal")]
    priority: Option<Priority>,
    /// When it is planned and reserved; within 366 days. Absent: now.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    scheduled_at: Option<String>,
    /// Told once when the batch has ended, signed; http or https.
    #[schema(format = "uri", max_length = 2000, example = "https://example.org/hooks/payouts")]
    notification_url: Option<String>,
}

struct Asked {
    id: Option<BatchId>,
    wishes: Vec<Wish>,
    priority: Priority,
    at: Option<Timestamp>,
    notify: Option<Target>,
}

impl BatchPayoutRequest {
    fn check(self, allow_private: bool, errors: &mut FieldErrors) -> Asked {
        let id = self.batch_id.map(|text| BatchId::parse(&text));
        if let Some(Err(why)) = &id {
            errors.add("batch_id", why.to_string());
        }
        let at = time(errors, "scheduled_at", self.scheduled_at.as_deref());
        let notify = self.notification_url.and_then(|text| target(&text, allow_private, errors));
        let priority = self.priority.unwrap_or_default();
        Asked { id: id.and_then(Result::ok), wishes: wishes(self.payout_requests, priority, at, errors), priority, at, notify }
    }
}

fn target(text: &str, allow_private: bool, errors: &mut FieldErrors) -> Option<Target> {
    let fits = |target: &Target| match target.address() {
        Some(address) if !allow_private => check_public(address).map_err(|why| why.to_string()),
        _ => Ok(()),
    };
    let parsed = Target::parse(text).map_err(str::to_owned).and_then(|target| fits(&target).map(|()| target));
    parsed.map_err(|why| errors.add("notification_url", why)).ok()
}

/// What was taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchAccepted {
    pub batch_id: String,
    /// `queued` until its moment, else `processing`: as it was when the batch was taken, also when it is asked for again.
    pub status: BatchStatus,
    /// Payouts asked for.
    pub total: usize,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub created_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub scheduled_at: Option<String>,
    /// When all are final if no guard holds any back.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub estimated_completion: String,
}

impl From<&Batch> for BatchAccepted {
    fn from(batch: &Batch) -> BatchAccepted {
        let total = batch.size() + batch.left_out.len();
        let at = batch.scheduled_at;
        BatchAccepted {
            batch_id: batch.id.to_string(),
            status: if at.is_some() { BatchStatus::Queued } else { BatchStatus::Processing },
            total,
            created_at: batch.made_at.rfc3339(),
            scheduled_at: at.map(Timestamp::rfc3339),
            estimated_completion: estimated_end(at.unwrap_or(batch.made_at), total).rfc3339(),
        }
    }
}

/// Pay several nodes
///
/// All are planned and reserved together, or none: a refusal names everything that is wrong with every request. With `scheduled_at` nothing is reserved before that
/// moment, and who cannot be paid then is left out with a reason. Asking again with the same `batch_id` and content changes nothing and retries nothing.
#[utoipa::path(post, path = "/nodes/payouts/batch", tag = "payouts", security(("access" = ["payout:batch"])), request_body = BatchPayoutRequest,
    responses((status = 202, body = BatchAccepted), (status = 400, body = ErrorBody), (status = 409, description = "another batch has this id (`BatchExists`)", body = ErrorBody),
    (status = 422, description = "`PayoutsRefused` with every field that cannot be met, `CurrencyNotPayable`, `ScheduledInThePast`, `ScheduledTooFar` or `TooManyQueuedBatches`", body = ErrorBody),
    (status = 503, description = "the clock is not trusted (`ClockUntrusted`)", body = ErrorBody)))]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    asked: Unchecked<BatchPayoutRequest>,
) -> Result<(StatusCode, Json<BatchAccepted>), ApiError> {
    let allow_private = state.settings().webhooks_allow_private;
    let Asked { id, wishes, priority, at, notify } = asked.check(|asked, errors| asked.check(allow_private, errors))?;
    let now = state.now();
    if !now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let content = content(&wishes, priority, at, notify.as_ref());
    if let Some(id) = &id
        && let Some(before) = batches::by_id(&state.store.read()?, id)?
    {
        return same(&before, &content).map(|answer| (StatusCode::ACCEPTED, Json(answer))).map_err(naming_id);
    }
    if let Some(at) = at {
        let refused =
            |name, message: &str| Refusal::Broken(name, vec![FieldError { field: "scheduled_at".into(), message: message.into() }]);
        if at <= now.wall {
            return Err(refused(IN_THE_PAST, "must be in the future; leave it out to pay now").into());
        }
        if at > now.wall.plus_seconds(MAX_AHEAD_DAYS * 86_400) {
            return Err(refused(TOO_FAR, "must be within 366 days").into());
        }
    }
    let paying = state.paying();
    let fresh = NewBatch {
        id: id.unwrap_or_else(|| BatchId::new(state.entropy.uuid(now.wall.0))),
        content,
        by: caller.actor().to_string(),
        settlement: paying.by.settlement,
        priority,
        made_at: now.wall,
        scheduled_at: at,
        waiting: wishes,
    };
    let batch = Batch { notify, ..Batch::new(fresh) };
    let draft = caller.act(now).draft("payout_batch.create", batch.id.as_str()).because(summary(&batch));
    let ids: Vec<PayoutId> = match at {
        None => batch.waiting.iter().map(|_| PayoutId::new(state.entropy.uuid(now.wall.0))).collect(),
        Some(_) => Vec::new(),
    };
    let (batch, earned) = reads::long(&state, {
        let paying = paying.clone();
        move |state| {
            let core = state.store.read()?;
            let short = if batch.scheduled_at.is_none() { short_of(&core, &paying, &batch.waiting)? } else { Vec::new() };
            let earned = Earned::of(&core, &state.store.hot.read()?, &short)?;
            Ok((batch, earned))
        }
    })
    .await?;
    let (this, planned, announced) = (state.clone(), Arc::new(ids), at.is_none());
    let write = move |tx: &mut WriteTx<'_>| -> Result<Batch, TxError> {
        if let Some(before) = batches::by_id(tx, &batch.id)? {
            same(&before, &batch.content)?;
            return Ok(before);
        }
        let by = Plans { secrets: &this.store.secrets, paying: &paying, now };
        let mut batch = Batch { seq: batches::next_seq(tx)?, ..batch.clone() };
        if batch.scheduled_at.is_some() {
            if batches::queued(tx)? >= batches::MAX_QUEUED {
                let text = format!("{} batches wait for their time already; cancel one", batches::MAX_QUEUED);
                return Err(Refusal::Rule(TOO_MANY, text).into());
            }
            granted(by, tx, Against::Later, &batch.waiting)?;
        } else {
            earned.post(tx, now)?;
            let granted = granted(by, tx, Against::Payable, &batch.waiting)?;
            let source = Source::Batch { batch: batch.id.clone(), by: batch.by.clone() };
            let first = reserve(tx, &granted, &planned, &source, now)?;
            let count = u32::try_from(granted.len()).map_err(|_| Fault::Invariant("a batch is too large".into()))?;
            batch = batch.planned(first, count, Vec::new(), now);
        }
        batches::put(tx, &batch, now)?;
        audit::append(tx, draft.clone())?;
        Ok(batch)
    };
    let batch = state.store.write_money(write).await.map_err(ApiError::from).map_err(naming_id)?;
    if announced {
        let read = state.store.read()?;
        for payout in batches::payouts_of(&read, &batch)? {
            state.events.publish(&Event::Payout { payout_id: payout.id });
        }
        state.nudges.nudge(Job::Tracking);
    }
    Ok((StatusCode::ACCEPTED, Json(BatchAccepted::from(&batch))))
}

/// The answer to the same request again; of another one, the refusal.
fn same(before: &Batch, content: &[u8; 32]) -> Result<BatchAccepted, Refusal> {
    if before.content == *content { Ok(BatchAccepted::from(before)) } else { Err(Refusal::BatchExists) }
}

fn naming_id(error: impl Into<ApiError>) -> ApiError {
    ApiError::naming([(Refusal::BatchExists, "batch_id"), (Refusal::Rule(TOO_MANY, String::new()), "scheduled_at")])(error)
}

fn summary(batch: &Batch) -> String {
    let mut sums = std::collections::BTreeMap::<Currency, Units>::new();
    for wish in &batch.waiting {
        let sum = sums.entry(wish.currency).or_default();
        *sum = Units(sum.0.saturating_add(wish.amount.0));
    }
    let sums: Vec<_> = sums.into_iter().map(|(currency, units)| format!("{} {currency}", units.to_decimal(currency))).collect();
    let when = batch.scheduled_at.map(|at| format!(", at {}", at.rfc3339())).unwrap_or_default();
    format!("{} payouts, {}{when}, {}", batch.waiting.len(), sums.join(" and "), batch.settlement)
}

/// A batch, in numbers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchView {
    pub batch_id: String,
    pub status: BatchStatus,
    /// `simulated`: no money moves.
    pub settlement: Settlement,
    pub priority: Priority,
    /// The schedule that made it.
    pub schedule_id: Option<String>,
    pub created_by: Person,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub created_at: String,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub scheduled_at: Option<String>,
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    pub ended_at: Option<String>,
    /// Payouts that it has, or is to have.
    pub total: usize,
    /// Of those, the ones that have not ended.
    pub open: usize,
    pub completed: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Asked for, and not planned.
    pub left_out: usize,
    /// Scheme, host and port of the URL that is told of its end.
    pub notifies: Option<String>,
}

impl BatchView {
    fn new(batch: &Batch, names: &mut Names<'_>) -> Result<BatchView, Fault> {
        Ok(BatchView {
            batch_id: batch.id.to_string(),
            status: batch.status(),
            settlement: batch.settlement,
            priority: batch.priority,
            schedule_id: batch.schedule.as_ref().map(ToString::to_string),
            created_by: Person { id: batch.by.clone(), name: names.subject(&batch.by)? },
            created_at: batch.made_at.rfc3339(),
            scheduled_at: batch.scheduled_at.map(Timestamp::rfc3339),
            ended_at: batch.ended_at.map(Timestamp::rfc3339),
            total: batch.size(),
            open: batch.open(),
            completed: batch.tally.paid,
            failed: batch.tally.failed,
            cancelled: batch.cancelled(),
            left_out: batch.left_out.len(),
            notifies: batch.notify.as_ref().map(|target| target.origin.clone()),
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchList {
    batches: Vec<BatchView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BatchQuery {
    #[param(value_type = Option<BatchStatus>)]
    status: Option<String>,
    /// Taken at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Taken before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// Batches of payouts, newest first
#[utoipa::path(get, path = "/nodes/payouts/batches", tag = "payouts", security(("access" = ["payout:read"])), params(PageQuery, BatchQuery),
    responses((status = 200, body = BatchList), (status = 400, body = ErrorBody)))]
pub async fn list(State(state): State<AppState>, page: Page, Query(query): Query<BatchQuery>) -> Result<Json<BatchList>, ApiError> {
    let mut errors = FieldErrors::default();
    let words = "queued, processing, completed, completed_with_failures or cancelled";
    let filter = Filter {
        status: word(&mut errors, "status", query.status.as_deref(), words),
        from: time(&mut errors, "from", query.from.as_deref()),
        to: time(&mut errors, "to", query.to.as_deref()),
    };
    errors.require(filter.from.zip(filter.to).is_none_or(|(from, to)| from < to), "from", "must be before to");
    errors.finish()?;
    reads::long(&state, move |state| {
        let read = state.store.read()?;
        let (rows, total) = batches::page(&read, filter, page.offset(), page.limit())?;
        let mut names = Names::new(&read);
        let batches = rows.iter().map(|batch| BatchView::new(batch, &mut names)).collect::<Result<_, _>>()?;
        Ok(Json(BatchList { batches, pagination: page.of_rows(total) }))
    })
    .await
}

/// Sums of one currency, exact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchAmounts {
    currency: Currency,
    total: String,
    completed: String,
    failed: String,
    cancelled: String,
    open: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchDetail {
    #[serde(flatten)]
    batch: BatchView,
    amounts: Vec<BatchAmounts>,
    /// Who was to be paid and is not.
    left_out_nodes: Vec<LeftOutView>,
    /// A page of its payouts, in the order in which they were asked for.
    payouts: Vec<PayoutView>,
    pagination: Pagination,
}

/// A batch of payouts, its progress and its payouts
#[utoipa::path(get, path = "/nodes/payouts/batches/{batch_id}", tag = "payouts", security(("access" = ["payout:read"])), params(("batch_id" = String, Path), PageQuery),
    responses((status = 200, body = BatchDetail), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    page: Page,
) -> Result<Json<BatchDetail>, ApiError> {
    let id = batch_id(&id)?;
    let shows_address = shows_address(&caller);
    reads::long(&state, move |state| {
        let read = state.store.read()?;
        let batch = batches::by_id(&read, &id)?.ok_or(Refusal::BatchNotFound)?;
        let all = batches::payouts_of(&read, &batch)?;
        let mut sums = Sums::default();
        all.iter().for_each(|payout| sums.add(payout));
        let mut names = Names::new(&read);
        let (rows, pagination) = page.slice(all);
        let payouts = rows.iter().map(|payout| PayoutView::new(payout, &mut names, shows_address)).collect::<Result<_, _>>()?;
        let view = BatchView::new(&batch, &mut names)?;
        let amounts = amounts(&batch, &sums);
        let left_out_nodes = batch.left_out.into_iter().map(|left| LeftOutView::new(&read, left)).collect::<Result<_, _>>()?;
        Ok(Json(BatchDetail { batch: view, amounts, left_out_nodes, payouts, pagination }))
    })
    .await
}

fn amounts(batch: &Batch, sums: &Sums) -> Vec<BatchAmounts> {
    let mut waiting = sums.clone();
    for wish in &batch.waiting {
        let sum = waiting.0.entry(wish.currency).or_default();
        sum.total = Units(sum.total.0.saturating_add(wish.amount.0));
        if batch.called_off {
            sum.cancelled = Units(sum.cancelled.0.saturating_add(wish.amount.0));
        }
    }
    let one = |(currency, sum): (&Currency, &batch::Sum)| {
        let text = |units: Units| units.to_decimal(*currency).to_string();
        let open = sum.total.0.saturating_sub(sum.paid.0).saturating_sub(sum.failed.0).saturating_sub(sum.cancelled.0);
        BatchAmounts {
            currency: *currency,
            total: text(sum.total),
            completed: text(sum.paid),
            failed: text(sum.failed),
            cancelled: text(sum.cancelled),
            open: text(Units(open)),
        }
    };
    waiting.0.iter().map(one).collect()
}

/// A payout that goes on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeptPayout {
    payout_id: String,
    /// Why it was not cancelled.
    reason: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BatchCancelled {
    batch: BatchView,
    cancelled_payouts: Vec<String>,
    kept_payouts: Vec<KeptPayout>,
}

/// Cancel a batch of payouts
///
/// What is not planned yet is called off. Of what is, every payout is cancelled that no transaction of can land any more; the others go on, and are listed.
#[utoipa::path(post, path = "/nodes/payouts/batches/{batch_id}/cancel", tag = "payouts", security(("access" = ["payout:batch"])), params(("batch_id" = String, Path)),
    responses((status = 200, body = BatchCancelled), (status = 404, body = ErrorBody), (status = 409, description = "it has ended (`BatchOver`)", body = ErrorBody)))]
pub async fn cancel(State(state): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<BatchCancelled>, ApiError> {
    let id = batch_id(&id)?;
    let now = state.now();
    let (act, of) = (caller.act(now), id.clone());
    let done = state.store.write_money(move |tx| batches::cancel(tx, &act, &of, now)).await?;
    for payout_id in &done.cancelled {
        state.events.publish(&Event::Payout { payout_id: payout_id.clone() });
    }
    state.nudges.nudge(Job::Outbox);
    let read = state.store.read()?;
    let batch = batches::by_id(&read, &id)?.ok_or(Refusal::BatchNotFound)?;
    Ok(Json(BatchCancelled {
        batch: BatchView::new(&batch, &mut Names::new(&read))?,
        cancelled_payouts: done.cancelled.iter().map(ToString::to_string).collect(),
        kept_payouts: done.kept.into_iter().map(|(id, reason)| KeptPayout { payout_id: id.to_string(), reason }).collect(),
    }))
}

/// What cannot be an id is one that is not there.
pub fn batch_id(text: &str) -> Result<BatchId, ApiError> {
    BatchId::parse(text).map_err(|_| Refusal::BatchNotFound.into())
}

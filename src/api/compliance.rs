//! The compliance report: what happened with money, people and settings in a range of dates, with the state of the log that proves it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::audit_chain::{self, ChainCheck};
use super::audit_view::{EntryView, Views};
use super::auth::Caller;
use super::chunks::cell;
use super::error::ApiError;
use super::json::{Json, Query};
use super::listing::{time, word};
use super::reads;
use super::state::AppState;
use crate::domain::compliance::{Kind, People, Person};
use crate::domain::ids::UserId;
use crate::domain::ledger::Settlement;
use crate::domain::money::{Currency, Units};
use crate::domain::payout::Status;
use crate::domain::refusal::FieldErrors;
use crate::domain::time::Timestamp;
use crate::storage::core::audit_search::{self, Filter};
use crate::storage::core::{audit, payouts, people, subject_keys};

/// Without a range, a report is about so many days; and never about more than a year.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 366;
/// Entries of each kind that are listed; the count is of all.
const MAX_LISTED: usize = 1_000;
/// Entries that are looked at under one snapshot.
const PIECE: u64 = 10_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    /// RFC 3339: from this time on; default: 30 days before `to`.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time; default: now. At most 366 days after `from`.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// `json` unless it says otherwise.
    #[param(value_type = Option<ReportFormat>)]
    format: Option<String>,
}

/// Payouts made in the range, as they stand now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutTotal {
    pub settlement: Settlement,
    pub currency: Currency,
    pub status: Status,
    pub count: u64,
    /// Decimal, in the currency.
    pub amount: String,
    /// The same in its smallest unit: a whole number.
    pub units: String,
}

/// One person in the range.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PersonTotal {
    pub user_id: String,
    /// As it is now; null when the account was removed, `erased` when the person was erased.
    pub name: Option<String>,
    pub sign_ins: u64,
    /// Failed authentications on the account, by whoever it was.
    pub refused_sign_ins: u64,
    pub approvals: u64,
    pub address_changes: u64,
    pub role_changes: u64,
    pub setting_changes: u64,
    pub erasures: u64,
    pub exports: u64,
    /// All entries of the audit log under this id.
    pub entries: u64,
}

/// Entries of one kind.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Listed {
    /// How many there are in the range.
    pub count: u64,
    /// The first 1,000 of them.
    pub entries: Vec<EntryView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ComplianceReport {
    pub manager_id: String,
    pub from: String,
    pub to: String,
    pub made_at: String,
    /// Entries of the audit log in the range.
    pub entries: u64,
    /// By settlement, currency and status.
    pub payouts: Vec<PayoutTotal>,
    pub people: Vec<PersonTotal>,
    /// Failed authentications on no known account.
    pub refused_sign_ins_of_nobody: u64,
    pub approvals: Listed,
    pub address_changes: Listed,
    pub role_changes: Listed,
    pub setting_changes: Listed,
    pub erasures: Listed,
    pub exports: Listed,
    /// The whole audit log, checked for this report.
    pub chain: ChainCheck,
}

/// A compliance report
///
/// Payouts by settlement, currency and status, with totals; what each person did: sign-ins, refused sign-ins, approvals, changes of addresses, roles and settings,
/// erasures and exports, with the entries themselves; and the audit log's head after a check of all of it. Who was erased appears by id only. The
/// report itself is recorded as an export.
#[utoipa::path(get, path = "/compliance/report", tag = "operations", params(ReportQuery), security(("access" = ["audit:export"])),
    responses((status = 200, content((ComplianceReport = "application/json"), (String = "text/csv"))), (status = 409, description = "the log is being checked already")))]
pub async fn report(State(state): State<AppState>, caller: Caller, Query(query): Query<ReportQuery>) -> Result<Response, ApiError> {
    let (from, to, is_csv) = query.check(state.now().wall)?;
    let chain = audit_chain::check(&state).await?;
    let draft = caller.act(state.now()).draft("compliance.report", "").because(format!("{from} to {to}"));
    let report = reads::long(&state, move |state| gather(state, from, to, chain)).await?;
    state.store.write(move |tx| audit::append(tx, draft.clone())).await?;
    if !is_csv {
        return Ok(Json(report).into_response());
    }
    let mut response = csv(&report).map_err(|_| ApiError::panicked())?.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = HeaderValue::from_static("attachment; filename=\"compliance.csv\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ComplianceReportFormat)]
pub enum ReportFormat {
    Json,
    Csv,
}

impl ReportQuery {
    fn check(&self, now: Timestamp) -> Result<(Timestamp, Timestamp, bool), ApiError> {
        let mut errors = FieldErrors::default();
        let to = time(&mut errors, "to", self.to.as_deref()).unwrap_or(now);
        let from = time(&mut errors, "from", self.from.as_deref()).unwrap_or(to.plus_seconds(-DEFAULT_DAYS * 86_400));
        let days_ms = MAX_DAYS * 86_400_000;
        // What is compared with a time that is none says nothing.
        let compared = errors.0.is_empty();
        errors.require(!compared || (1..=days_ms).contains(&to.since(from)), "from", "must be before `to`, by 366 days at most");
        let format: Option<ReportFormat> = word(&mut errors, "format", self.format.as_deref(), "json or csv");
        errors.finish()?;
        Ok((from, to, format == Some(ReportFormat::Csv)))
    }
}

fn gather(state: &AppState, from: Timestamp, to: Timestamp, chain: ChainCheck) -> Result<ComplianceReport, ApiError> {
    let filter = Filter { from: Some(from), until: Some(to), ..Filter::default() };
    let (first, last) = audit_search::range(&state.store.read()?, &filter)?;
    let (mut next, mut entries, mut people) = (Some(first).filter(|first| *first <= last), 0, People::default());
    let mut listed: BTreeMap<Kind, Listed> = BTreeMap::new();
    while let Some(start) = next {
        let read = state.store.read()?;
        let (piece, rest) = audit_search::piece(&read, &filter, start, last, PIECE)?;
        let mut views = Views::new(&read, &state.store.secrets);
        for entry in piece {
            entries += 1;
            people.count(&entry.draft);
            let Some(kind) = Kind::of(&entry.draft) else { continue };
            let list = listed.entry(kind).or_default();
            list.count += 1;
            if list.entries.len() < MAX_LISTED {
                list.entries.push(views.view(entry)?);
            }
        }
        next = rest;
    }
    let mut list = |kind| listed.remove(&kind).unwrap_or_default();
    Ok(ComplianceReport {
        manager_id: state.store.manager_id.to_string(),
        from: from.rfc3339(),
        to: to.rfc3339(),
        made_at: state.now().wall.rfc3339(),
        entries,
        payouts: payout_totals(state, from, to)?,
        refused_sign_ins_of_nobody: people.refused_of_nobody,
        people: people.people.into_iter().map(|(id, person)| person_total(state, id, &person)).collect::<Result<_, _>>()?,
        approvals: list(Kind::Approval),
        address_changes: list(Kind::AddressChange),
        role_changes: list(Kind::RoleChange),
        setting_changes: list(Kind::SettingChange),
        erasures: list(Kind::Erasure),
        exports: list(Kind::Export),
        chain,
    })
}

fn payout_totals(state: &AppState, from: Timestamp, to: Timestamp) -> Result<Vec<PayoutTotal>, ApiError> {
    let mut totals: BTreeMap<([u8; 2], &'static str), (PayoutTotal, i128)> = BTreeMap::new();
    payouts::for_each(&state.store.read()?, |payout| {
        if payout.created_at < from || payout.created_at >= to {
            return;
        }
        let (book, status) = (payout.book, payout.status());
        let empty = || {
            let total = PayoutTotal {
                settlement: book.settlement,
                currency: book.currency,
                status,
                count: 0,
                amount: String::new(),
                units: String::new(),
            };
            (total, 0)
        };
        let (total, units) = totals.entry((book.key(), status.as_str())).or_insert_with(empty);
        total.count += 1;
        *units += i128::from(payout.amount.0);
    })?;
    let finished = totals.into_values().map(|(total, units)| {
        // A sum beyond what an amount can hold has its whole number only.
        let amount = i64::try_from(units).map_or_else(|_| String::new(), |units| Units(units).to_decimal(total.currency).to_string());
        PayoutTotal { amount, units: units.to_string(), ..total }
    });
    Ok(finished.collect())
}

fn person_total(state: &AppState, user_id: String, person: &Person) -> Result<PersonTotal, ApiError> {
    let read = state.store.read()?;
    let known = UserId::parse(&user_id).ok().map(|id| people::user(&read, &id)).transpose()?.flatten();
    let erased = subject_keys::is_erased(&read, &user_id)?;
    let name = if erased { Some(super::audit_view::ERASED.to_owned()) } else { known.map(|user| user.username) };
    let of = |kind| person.by_kind.get(&kind).copied().unwrap_or_default();
    Ok(PersonTotal {
        name,
        sign_ins: person.sign_ins,
        refused_sign_ins: person.refused_sign_ins,
        approvals: of(Kind::Approval),
        address_changes: of(Kind::AddressChange),
        role_changes: of(Kind::RoleChange),
        setting_changes: of(Kind::SettingChange),
        erasures: of(Kind::Erasure),
        exports: of(Kind::Export),
        entries: person.entries,
        user_id,
    })
}

/// One table: section, what it is about, in words, how many, how much.
fn csv(report: &ComplianceReport) -> std::io::Result<Vec<u8>> {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let mut row = |cells: [&str; 6]| table.write_record(cells.map(cell));
    row(["section", "subject", "name", "detail", "count", "amount"])?;
    row(["report", &report.manager_id, "", &format!("{} to {}", report.from, report.to), &report.entries.to_string(), ""])?;
    for total in &report.payouts {
        let detail = format!("{} {} {}", total.settlement, total.currency, total.status.as_str());
        row(["payouts", "", "", &detail, &total.count.to_string(), &total.amount])?;
    }
    for person in &report.people {
        let name = person.name.clone().unwrap_or_default();
        let counts = [
            ("sign_ins", person.sign_ins),
            ("refused_sign_ins", person.refused_sign_ins),
            ("approvals", person.approvals),
            ("address_changes", person.address_changes),
            ("role_changes", person.role_changes),
            ("setting_changes", person.setting_changes),
            ("erasures", person.erasures),
            ("exports", person.exports),
            ("entries", person.entries),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            row(["people", &person.user_id, &name, what, &count.to_string(), ""])?;
        }
    }
    row(["people", "", "", "refused_sign_ins_of_nobody", &report.refused_sign_ins_of_nobody.to_string(), ""])?;
    let lists = [
        (Kind::Approval, &report.approvals),
        (Kind::AddressChange, &report.address_changes),
        (Kind::RoleChange, &report.role_changes),
        (Kind::SettingChange, &report.setting_changes),
        (Kind::Erasure, &report.erasures),
        (Kind::Export, &report.exports),
    ];
    for (kind, list) in lists {
        for entry in &list.entries {
            let reason = entry.reason.as_deref().unwrap_or_default();
            let detail = format!("{} {} by {} {reason}", entry.at, entry.operation, entry.actor);
            let name = entry.subject_name.as_deref().unwrap_or_default();
            row([kind.as_str(), &entry.subject, name, detail.trim_end(), &entry.times.to_string(), ""])?;
        }
    }
    let verdict = if report.chain.ok { "the whole audit log follows" } else { "the audit log is broken" };
    row(["chain", &report.chain.head, "", verdict, &report.chain.entries.to_string(), ""])?;
    table.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}

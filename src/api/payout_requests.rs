//! One wanted payout as requests name it: shared by batches, schedules and the preview.

use serde::{Deserialize, Serialize};

use super::input::RawAmount;
use crate::domain::address::PayoutAddress;
use crate::domain::batch::{LeftOut, MAX_REQUESTS, Wish};
use crate::domain::ids::NodeId;
use crate::domain::money::{Currency, Units};
use crate::domain::payout::{self, Priority, Skip};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::time::Timestamp;
use crate::storage::core::nodes;
use crate::storage::fault::{Fault, TxError};
use crate::storage::planning::{Against, Checker, Granted, Plans, Problem};
use crate::storage::table::Read;

/// Where the list stands in a body.
pub const LIST: &str = "payout_requests";

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayoutRequest {
    #[schema(pattern = "^node_[a-zA-Z0-9_-]+$", min_length = 8, max_length = 64, example = "node_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f")]
    node_id: String,
    /// Number or text, read exactly: from 0.000001 to 1,000,000, with at most 6 decimal places for USDT and 8 for LUCID.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    amount: RawAmount,
    #[schema(default = "USDT")]
    currency: Option<Currency>,
    /// Must be the one that is registered for the node. Absent: that one.
    #[schema(pattern = "^[a-zA-Z0-9]+$", min_length = 34, max_length = 42, example = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3")]
    wallet_address: Option<String>,
    /// Absent: that of the request around it, else `normal`. It orders; it passes no guard.
    #[schema(default = "normal")]
    priority: Option<Priority>,
    /// A batch has one moment: absent, or the same as the batch's.
    #[schema(format = DateTime, example = "2026-09-21T14:13:20Z")]
    scheduled_at: Option<String>,
}

impl PayoutRequest {
    /// The wish, unless `errors` says why not. `at` is where it stands in the body, `moment` when all of them are to be made.
    fn wish(self, at: &str, priority: Priority, moment: Option<Timestamp>, errors: &mut FieldErrors) -> Option<Wish> {
        let before = errors.0.len();
        let field = |name: &str| format!("{at}.{name}");
        let node = NodeId::parse(&self.node_id).map_err(|why| errors.add(field("node_id"), why.to_string())).ok();
        let currency = self.currency.unwrap_or(Currency::Usdt);
        let amount = self.amount.parse(currency).map_err(|why| errors.add(field("amount"), why.to_string())).ok();
        let fits = |units: Units| units > Units::ZERO && units <= payout::max_amount(currency);
        errors.require(amount.is_none_or(|amount| fits(amount.units)), &field("amount"), "must be 0.000001 to 1000000");
        let least = Units(10i64.pow(currency.decimals().saturating_sub(6)));
        let is_small = amount.is_some_and(|amount| fits(amount.units) && amount.units < least);
        errors.require(!is_small, &field("amount"), "must be 0.000001 to 1000000");
        if let Some(text) = &self.wallet_address
            && let Err(why) = PayoutAddress::parse(text, currency)
        {
            errors.add(field("wallet_address"), why.to_string());
        }
        if let Some(text) = &self.scheduled_at {
            let own = Timestamp::parse_rfc3339(text);
            let known = own.is_some();
            errors.require(known, &field("scheduled_at"), "must be a time such as 2026-01-31T12:00:00Z");
            let text = "must be absent or the same as the batch's scheduled_at: a batch is made at one moment";
            errors.require(!known || own == moment, &field("scheduled_at"), text);
        }
        let wish = Wish {
            node: node?,
            amount: amount?.units,
            currency,
            address: self.wallet_address,
            priority: self.priority.unwrap_or(priority),
        };
        (errors.0.len() == before).then_some(wish)
    }
}

/// All of a list, in its order.
pub fn wishes(asked: Vec<PayoutRequest>, priority: Priority, moment: Option<Timestamp>, errors: &mut FieldErrors) -> Vec<Wish> {
    errors.require((1..=MAX_REQUESTS).contains(&asked.len()), LIST, format!("must have 1 to {MAX_REQUESTS} entries"));
    let all = asked.into_iter().take(MAX_REQUESTS).enumerate();
    all.filter_map(|(number, one)| one.wish(&format!("{LIST}[{number}]"), priority, moment, errors)).collect()
}

/// Holds every wish against what a plan has to pass; all that is wrong with any of them is one refusal.
pub fn granted<R: Read>(by: Plans<'_>, read: &R, against: Against, wishes: &[Wish]) -> Result<Vec<Granted>, TxError> {
    let mut checker = Checker::new(by, read, against)?;
    let (mut granted, mut wrong) = (Vec::with_capacity(wishes.len()), Vec::new());
    for (number, wish) in wishes.iter().enumerate() {
        match checker.check(number, wish)? {
            Ok(one) => granted.push(one),
            Err(problems) => wrong.extend(problems.into_iter().map(|problem| (number, problem))),
        }
    }
    if wrong.is_empty() { Ok(granted) } else { Err(refused(&wrong).into()) }
}

fn refused(wrong: &[(usize, Problem)]) -> Refusal {
    let is_currency = wrong.iter().all(|(_, problem)| problem.name == Skip::CurrencyNotPayable.name());
    let name = if is_currency { "CurrencyNotPayable" } else { "PayoutsRefused" };
    Refusal::Broken(name, wrong.iter().map(|(number, problem)| problem.at(*number)).collect())
}

/// A wish as it is shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutWish {
    pub node_id: String,
    /// Exact.
    pub amount: String,
    pub currency: Currency,
    pub priority: Priority,
}

impl From<&Wish> for PayoutWish {
    fn from(wish: &Wish) -> PayoutWish {
        let amount = wish.amount.to_decimal(wish.currency).to_string();
        PayoutWish { node_id: wish.node.to_string(), amount, currency: wish.currency, priority: wish.priority }
    }
}

/// Who was to be paid and is not.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LeftOutView {
    pub node_id: String,
    /// Null: the node is deleted.
    pub node_name: Option<String>,
    /// Stable name of the reason.
    #[schema(example = "no_address")]
    pub why: String,
    /// The reason in words.
    pub text: String,
}

impl LeftOutView {
    pub fn new(read: &impl Read, left: LeftOut) -> Result<LeftOutView, Fault> {
        let node_name = nodes::by_id(read, &left.node)?.map(|node| node.name);
        Ok(LeftOutView { node_id: left.node.to_string(), node_name, why: left.why, text: left.text })
    }
}

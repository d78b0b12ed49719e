//! HTTP: the only layer that knows axum. This file is the index of the API; handlers extract, run one verb of the store in one
//! transaction, and show the result. Rules live in `domain`, writes in `storage`; cycles are woken through `live::Nudges`.

pub mod about;
pub mod access;
mod agent;
pub mod alerts;
pub mod allocation;
pub mod archives;
pub mod assets;
pub mod audit;
pub mod audit_chain;
pub mod audit_export;
pub mod audit_view;
pub mod auth;
pub mod backup;
mod buckets;
pub mod capacity;
pub mod certificates;
mod chunks;
pub mod clock;
mod commands;
pub mod compliance;
pub mod day_keys;
pub mod document;
pub mod enrolment;
pub mod enrolment_requests;
pub mod epoch_closing;
pub mod epoch_document;
pub mod error;
pub mod events;
pub mod examples;
pub mod fleet;
pub mod fleet_scores;
pub mod gateway_jwt;
pub mod gauges;
pub mod health;
pub mod hosts;
pub mod idempotency;
pub mod input;
pub mod json;
pub mod leaderboard;
pub mod ledger;
mod ledger_changes;
mod ledger_rewards;
pub mod listing;
pub mod login;
pub mod maintenance;
mod mend;
pub mod metrics;
pub mod middleware;
pub mod money;
pub mod money_live;
pub mod node_actions;
pub mod node_commands;
pub mod node_departure;
pub mod node_events;
pub mod node_history;
pub mod node_row;
mod node_view;
pub mod nodes;
pub mod openapi;
pub mod outbox;
mod output_proofs;
pub mod output_records;
pub mod overview;
pub mod overview_money;
pub mod page;
pub mod parameters;
pub mod passwords;
mod patience;
pub mod payout_batches;
pub mod payout_decisions;
pub mod payout_detail;
pub mod payout_export;
pub mod payout_preview;
pub mod payout_requests;
pub mod payout_schedules;
pub mod payouts;
pub mod people;
pub mod planes;
pub mod pool_health;
pub mod pool_metrics;
pub mod pool_scores;
pub mod pools;
pub mod poot;
pub mod poot_history;
pub mod privacy;
pub mod proof_document;
pub mod rates;
mod reads;
pub mod recovery_kit;
pub mod replication;
pub mod resources;
mod routes;
pub mod score_parts;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod setup;
pub mod setup_steps;
pub mod shape;
mod signed;
pub mod state;
mod statements;
pub mod storage;
pub mod storage_compaction;
mod storage_space;
mod suspensions;
pub mod thresholds;
pub mod tls;
pub mod tokens;
pub mod two_factor;
mod unchecked;
pub mod uptime;
mod votes;
pub mod wallet;
pub mod words;
pub mod workload_view;

pub use auth::{Caller, Principal};
pub use error::ApiError;
pub use json::{Json, Path, Query};
pub use middleware::RequestInfo;
pub use openapi::openapi_json;
pub use page::{Page, PageQuery, Pagination};
pub use settings::{Configuration, SettingSource, SettingView};
pub use state::{ApiSettings, AppState, Parts, Transport};
pub use unchecked::Unchecked;

use crate::live::REFUSALS_FLUSH;
use axum::Router;
use axum::middleware::from_fn_with_state;
use document::Contract;
use routes::{Routes, routes};

/// Everything that is in the OpenAPI document.
fn documented<R: Routes>() -> R {
    let v1 = R::empty()
        .routes(routes!(document::show))
        .routes(routes!(setup::state, setup::setup))
        .routes(routes!(setup_steps::list))
        .routes(routes!(setup_steps::update))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(login::me))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(sessions::list_of))
        .routes(routes!(sessions::end_of))
        .routes(routes!(two_factor::confirm))
        .routes(routes!(two_factor::change_password))
        .routes(routes!(two_factor::begin))
        .routes(routes!(two_factor::enable))
        .routes(routes!(two_factor::disable))
        .routes(routes!(two_factor::renew_recovery))
        .routes(routes!(two_factor::reset))
        .routes(routes!(people::list, people::create))
        .routes(routes!(people::update, people::delete))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::end_others))
        .routes(routes!(about::show))
        .routes(routes!(about::licences))
        .routes(routes!(settings::list, settings::change))
        .routes(routes!(settings::reset))
        .routes(routes!(storage::show))
        .routes(routes!(storage::check))
        .routes(routes!(storage_compaction::compact))
        .routes(routes!(recovery_kit::make))
        .routes(routes!(audit::list))
        .routes(routes!(audit_export::export))
        .routes(routes!(audit_chain::verify))
        .routes(routes!(audit_chain::anchor))
        .routes(routes!(audit_chain::check_anchor))
        .routes(routes!(backup::show))
        .routes(routes!(backup::make))
        .routes(routes!(replication::show))
        .routes(routes!(replication::pause))
        .routes(routes!(replication::resume))
        .routes(routes!(replication::resync))
        .routes(routes!(fleet::managers))
        .routes(routes!(fleet::nodes))
        .routes(routes!(fleet::summary))
        .routes(routes!(archives::list))
        .routes(routes!(archives::download))
        .routes(routes!(compliance::report))
        .routes(routes!(privacy::export))
        .routes(routes!(privacy::erase_person))
        .routes(routes!(privacy::erase_operator))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::get))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(clock::show))
        .routes(routes!(clock::confirm))
        .routes(routes!(clock::accept))
        .routes(routes!(events::stream))
        .routes(routes!(enrolment::list_tokens, enrolment::create_token))
        .routes(routes!(enrolment::revoke_token))
        .routes(routes!(enrolment_requests::list))
        .routes(routes!(enrolment_requests::approve))
        .routes(routes!(enrolment_requests::reject))
        .routes(routes!(enrolment::enrol))
        .routes(routes!(agent::report))
        .routes(routes!(agent::late))
        .routes(routes!(commands::poll))
        .routes(routes!(output_proofs::submit))
        .routes(routes!(enrolment::challenge))
        .routes(routes!(enrolment::node_token))
        .routes(routes!(nodes::list, nodes::create))
        .routes(routes!(nodes::get, nodes::update, node_departure::delete))
        .routes(routes!(node_departure::cancel))
        .routes(routes!(nodes::accept_fingerprint))
        .routes(routes!(node_actions::act))
        .routes(routes!(node_commands::start))
        .routes(routes!(node_commands::stop))
        .routes(routes!(node_commands::restart))
        .routes(routes!(node_commands::list))
        .routes(routes!(maintenance::list, maintenance::plan))
        .routes(routes!(maintenance::end))
        .routes(routes!(suspensions::list))
        .routes(routes!(suspensions::suspend))
        .routes(routes!(suspensions::unsuspend))
        .routes(routes!(suspensions::appeal))
        .routes(routes!(suspensions::decide))
        .routes(routes!(node_events::list))
        .routes(routes!(node_history::show))
        .routes(routes!(pools::list, pools::create))
        .routes(routes!(pools::get, pools::update, pools::delete))
        .routes(routes!(pools::add_node))
        .routes(routes!(pools::remove_node))
        .routes(routes!(pool_metrics::show))
        .routes(routes!(pools::list_flat))
        .routes(routes!(pools::get_flat))
        .routes(routes!(pools::join_flat))
        .routes(routes!(resources::current))
        .routes(routes!(resources::metrics))
        .routes(routes!(thresholds::of_node, thresholds::set_of_node))
        .routes(routes!(thresholds::of_pool, thresholds::set_of_pool))
        .routes(routes!(allocation::list))
        .routes(routes!(allocation::allocate))
        .routes(routes!(allocation::release))
        .routes(routes!(overview::show))
        .routes(routes!(fleet_scores::summary))
        .routes(routes!(poot::score))
        .routes(routes!(uptime::show))
        .routes(routes!(poot_history::history))
        .routes(routes!(leaderboard::show))
        .routes(routes!(pool_scores::show))
        .routes(routes!(day_keys::show))
        .routes(routes!(output_proofs::validate))
        .routes(routes!(output_proofs::batch))
        .routes(routes!(output_records::list))
        .routes(routes!(output_records::months))
        .routes(routes!(output_records::output))
        .routes(routes!(poot::epochs))
        .routes(routes!(epoch_closing::calculate))
        .routes(routes!(epoch_document::show))
        .routes(routes!(proof_document::manager_key))
        .routes(routes!(proof_document::newest))
        .routes(routes!(proof_document::consistency))
        .routes(routes!(proof_document::show))
        .routes(routes!(votes::show))
        .routes(routes!(payouts::address, payouts::set_address))
        .routes(routes!(payouts::of_node))
        .routes(routes!(payouts::of_node_flat))
        .routes(routes!(payouts::history))
        .routes(routes!(payout_detail::show))
        .routes(routes!(payouts::process))
        .routes(routes!(payout_decisions::decide))
        .routes(routes!(payout_decisions::hold))
        .routes(routes!(payout_decisions::approvals, payout_decisions::approve))
        .routes(routes!(money::show))
        .routes(routes!(money::freeze))
        .routes(routes!(money::unfreeze))
        .routes(routes!(money::stop))
        .routes(routes!(money::resume))
        .routes(routes!(money::reconcile))
        .routes(routes!(money::set_rate))
        .routes(routes!(money_live::go_live))
        .routes(routes!(money_live::unknown))
        .routes(routes!(money_live::book))
        .routes(routes!(wallet::show))
        .routes(routes!(wallet::unlock))
        .routes(routes!(wallet::lock))
        .routes(routes!(payout_batches::create))
        .routes(routes!(payout_batches::list))
        .routes(routes!(payout_batches::show))
        .routes(routes!(payout_batches::cancel))
        .routes(routes!(payout_schedules::list, payout_schedules::create))
        .routes(routes!(payout_schedules::show, payout_schedules::change, payout_schedules::delete))
        .routes(routes!(payout_preview::preview))
        .routes(routes!(outbox::list))
        .routes(routes!(outbox::discard))
        .routes(routes!(outbox::discard_all))
        .routes(routes!(outbox::rotate_key))
        .routes(routes!(ledger::of_node))
        .routes(routes!(ledger::all))
        .routes(routes!(ledger::balances))
        .routes(routes!(ledger_changes::adjust))
        .routes(routes!(ledger_changes::check))
        .routes(routes!(ledger_rewards::give))
        .routes(routes!(statements::of_node))
        .routes(routes!(statements::all));
    R::empty()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::show))
        .below("/api/v1", v1)
}

/// The whole site. The files of the UI stand outside of the rules.
pub fn router(state: AppState) -> Router {
    let Contract { rules, known } = Contract::committed().clone();
    documented::<Router<AppState>>()
        .route_layer(from_fn_with_state(state.clone(), idempotency::once))
        .route_layer(from_fn_with_state(known, parameters::check))
        .route_layer(from_fn_with_state((state.clone(), rules), access::guard))
        .fallback(assets::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(state.clone(), planes::check))
        .layer(from_fn_with_state(state.clone(), hosts::check))
        .layer(from_fn_with_state(state.clone(), rates::by_address))
        .layer(from_fn_with_state(state.clone(), middleware::observe))
        .with_state(state)
}

/// Writes counted refusals to the audit log every few minutes, and once more when the process stops.
pub async fn record_refusals(state: AppState) {
    let mut stopping = state.stopping.clone();
    loop {
        let stopped = tokio::select! {
            () = server::stopped(&mut stopping) => true,
            () = tokio::time::sleep(REFUSALS_FLUSH) => false,
        };
        if let Err(error) = state.flush_refusals(stopped).await {
            tracing::warn!(%error, "counted refusals could not be recorded");
        }
        if stopped {
            return;
        }
    }
}

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod fleet_cluster_tests;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod flood_tests;
#[cfg(test)]
mod idempotency_tests;
#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod node_row_tests;
#[cfg(test)]
mod overview_tests;
#[cfg(test)]
mod payout_batch_tests;
#[cfg(test)]
mod pool_price_tests;
#[cfg(test)]
mod range_tests;
#[cfg(test)]
mod rates_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod replication_tests;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod shape_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
#[cfg(test)]
mod two_factor_tests;

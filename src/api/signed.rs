//! The signed wire of nodes. A request names its node and comes with a signature; the layer of `access` lets none in without, and finds the node. What
//! the signature covers stands in the body too, so the handler holds it against the exact bytes once it has read them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::json::{self, check_plain, read_body};
use super::middleware::RequestInfo;
use super::shape::Shape;
use super::state::AppState;
use crate::crypto::PublicKey;
use crate::domain::enrolment::manager_key_hash;
use crate::domain::ids::{Incarnation, NodeId};
use crate::domain::proof::succession::Succession;
use crate::domain::refusal::Refusal;
use crate::storage::NodeEntry;
use crate::wire::{Envelope, HEADER_NODE, HEADER_SIGNATURE, HEADER_SUCCESSIONS, MAX_BODY, MAX_OUTPUT_BODY, PATH_OUTPUT, PROTOCOL, Purpose};

/// Whom a request names as its sender, signed or not.
#[derive(Clone)]
struct Named(Arc<NodeEntry>);

/// Lets a request through that names a node of ours and carries a signature.
pub(super) fn admit(state: &AppState, parts: &mut Parts) -> Result<(), ApiError> {
    let node = parts.headers.get(HEADER_NODE).filter(|_| parts.headers.contains_key(HEADER_SIGNATURE));
    let node = node.ok_or_else(|| ApiError { message: "name the node and sign the body".into(), ..Refusal::NotSignedIn.into() })?;
    let id = node.to_str().ok().and_then(|text| NodeId::parse(text).ok());
    let id = id.ok_or_else(|| ApiError::malformed(HEADER_NODE, "must name a node"))?;
    let node = state.store.directory.by_id(&id).ok_or(Refusal::NodeNotFound)?;
    parts.extensions.insert(Named(node));
    Ok(())
}

/// A request of the wire as it came. Its node is who sent it once `Seal::check` has said so.
pub(super) struct Message {
    pub node: Arc<NodeEntry>,
    pub info: RequestInfo,
    pub headers: HeaderMap,
    pub body: Bytes,
    shape: Shape,
}

impl Message {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.shape, &self.body)
    }
}

/// A body whose exact bytes are signed. What agents send is open to fields of later releases; every type that is wrong is named together.
pub(super) fn parse<T: DeserializeOwned>(shape: &Shape, body: &[u8]) -> Result<T, ApiError> {
    let parsed = json::parse(body).and_then(|parsed| shape.refuse_lists(body).map(|()| parsed));
    parsed.map_err(|error| shape.opened().complete(error, body))
}

impl<S: Send + Sync> FromRequest<S> for Message {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Message, ApiError> {
        let (mut parts, body) = request.into_parts();
        // Without the layer around it, a route is nobody's.
        let Named(node) = parts.extensions.remove().ok_or(Refusal::NotAllowed)?;
        let info = parts.extensions.remove().unwrap_or_default();
        check_plain(&parts.headers)?;
        let is_output = parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str() == PATH_OUTPUT);
        let body = read_body(body, if is_output { MAX_OUTPUT_BODY } else { MAX_BODY }).await?;
        let shape = parts.extensions.remove().unwrap_or_default();
        Ok(Message { node, info, headers: parts.headers, body, shape })
    }
}

/// What both signatures of one exchange bind.
pub(super) struct Seal<'a> {
    pub state: &'a AppState,
    pub node: &'a NodeEntry,
    pub incarnation: Incarnation,
    pub seq: u64,
}

impl Seal<'_> {
    fn envelope(&self, purpose: Purpose) -> Envelope<'_> {
        let (manager, node) = (self.state.store.manager_id.as_str(), self.node.id.as_str());
        Envelope { purpose, manager, node, incarnation: self.incarnation, seq: self.seq }
    }

    pub fn check(&self, purpose: Purpose, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
        let signature = headers.get(HEADER_SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let fits = self.node.key.is_some_and(|key| self.envelope(purpose).verify(&key, body, signature));
        if fits { Ok(()) } else { Err(by_node(Refusal::SignatureForged, self.node)) }
    }

    pub fn answer(&self, purpose: Purpose, answer: &impl Serialize) -> Result<Response, ApiError> {
        signed(self.state, self.envelope(purpose), answer)
    }
}

/// An answer with the manager's signature over its exact bytes.
pub(super) fn signed(state: &AppState, envelope: Envelope<'_>, answer: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(answer).map_err(|_| ApiError::panicked())?;
    let signature = HeaderValue::from_str(&envelope.sign(&state.store.signing_key, &body)).map_err(|_| ApiError::panicked())?;
    let mut response = (StatusCode::OK, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(HEADER_SIGNATURE, signature);
    Ok(response)
}

/// A signed answer to who names a former key says how others took over from it.
pub(super) fn led_on(state: &AppState, pinned: Option<&HeaderValue>, mut answer: Response) -> Response {
    let said = &state.store.successions;
    let is_pinned =
        |statement: &Succession| pinned.is_some_and(|hash| hash.as_bytes() == manager_key_hash(&PublicKey(statement.old_key.0)).as_bytes());
    if let Some(behind) = said.iter().position(is_pinned)
        && answer.headers().contains_key(HEADER_SIGNATURE)
    {
        let text = said.get(behind..).and_then(|said| serde_json::to_string(said).ok());
        let value = text.and_then(|text| HeaderValue::from_str(&text).ok());
        answer.headers_mut().extend(value.map(|value| (HeaderName::from_static(HEADER_SUCCESSIONS), value)));
    }
    answer
}

pub(super) fn by_node(refusal: Refusal, node: &NodeEntry) -> ApiError {
    ApiError::from(refusal).about(Some(node.id.to_string()))
}

pub(super) fn check_protocol(protocol: u32) -> Result<(), ApiError> {
    if protocol > PROTOCOL { Err(Refusal::ProtocolTooNew.into()) } else { Ok(()) }
}

//! Whom the agent believes over TLS: the manager whose key it pinned, or, where a proxy stands in front of the manager, an authority. Nobody else, ever.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::keys::{Keys, REPLACED, Word};
use crate::crypto::{KEY_LEN, PublicKey};
use crate::domain::proof::succession::Succession;
use crate::http;
use crate::wire;

/// Believes the holder of the pinned key, or of one to which the statements in its certificate lead on from it. Names do not matter, because the key does not depend on them; dates do not either: the clock of a board without a
/// battery says 1970, and the manager's certificate is made anew at each of its starts.
#[derive(Debug)]
struct Pinned {
    keys: Arc<Keys>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let word = key_of(shown).map_or(Word::Unknown, |key| self.keys.judge(&key, &successions_in(shown)));
        match word {
            // That the other side holds this key too, its signature over the handshake says. What it signs as an answer makes a successor the pinned key.
            Word::Known | Word::Successor => Ok(ServerCertVerified::assertion()),
            Word::Replaced => Err(Error::General(REPLACED.into())),
            Word::Unknown => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("the manager speaks TLS 1.3 with its agents".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    /// This, and nothing else, is how the manager tells an agent from a browser.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The Ed25519 key of a certificate.
fn key_of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    /// RFC 8410, section 4: what stands before the 32 bytes of the key.
    const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    let info = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
    let key: [u8; KEY_LEN] = info.strip_prefix(&ED25519)?.try_into().ok()?;
    Some(PublicKey(key))
}

/// What the manager's certificate says of its keys. Found by its identifier alone, wherever it stands: statements are believed by their signatures.
fn successions_in(certificate: &[u8]) -> Vec<Succession> {
    let name = wire::successions_oid_der();
    let at = certificate.windows(name.len()).position(|bytes| bytes == name);
    let extension = at.and_then(|at| certificate.get(at + name.len()..)).and_then(|rest| der_value(0x04, rest));
    let text = extension.and_then(|value| der_value(0x0c, value));
    text.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
}

/// The value of a DER field of this type at the beginning of `bytes`, of up to 64 KiB.
fn der_value(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match bytes.strip_prefix(&[tag])? {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [length @ ..=0x7f, rest @ ..] => (usize::from(*length), rest),
        _ => return None,
    };
    rest.get(..length)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Believes the pinned key and its successors alone.
pub fn pinned(keys: Arc<Keys>) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier = Arc::new(Pinned { keys, algorithms: provider.signature_verification_algorithms });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(|e| e.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Believes authorities as browsers do, names and dates included: those built in, because a bare machine has none, and those of `ca_file` (PEM).
pub fn authorities(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = http::authorities();
    if let Some(path) = ca_file {
        let named = |e: &dyn fmt::Display| format!("{}: {e}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| named(&e))? {
            roots.add(certificate.map_err(|e| named(&e))?).map_err(|e| named(&e))?;
        }
    }
    http::believing(roots)
}

/// No handshake came about, or the other side is not believed: another way of believing may succeed. An error of the network is none of that.
pub fn is_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    // An error of I/O hides the one that it was made of from `source`.
    let hidden = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let hidden = hidden.map(|hidden| hidden as &(dyn std::error::Error + 'static));
    error.is::<Error>() || [hidden, error.source()].into_iter().flatten().any(is_tls_error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::client::ClientConnection;
    use rustls::server::{ServerConfig, ServerConnection};
    use rustls::time_provider::TimeProvider;

    use super::*;
    use crate::agent::state::tests::Folder;
    use crate::agent::state::{Enrolled, State};
    use crate::api::certificates;
    use crate::crypto::SigningKey;
    use crate::domain::enrolment::manager_key_hash;
    use crate::domain::ids::{ManagerId, NodeId};
    use crate::domain::proof::succession::tests::{key, statement};

    /// Enrolled with the manager of this key, after these statements.
    fn knowing(manager: &SigningKey, successions: &[Succession]) -> Arc<Keys> {
        let enrolled = Enrolled {
            manager_id: ManagerId::parse("manager_0001").unwrap(),
            manager_key: manager.public(),
            node_id: NodeId::parse("node_0001").unwrap(),
            node_name: "pi".into(),
            salt: String::new(),
            successions: successions.to_vec(),
        };
        Arc::new(Keys::of(enrolled, None))
    }

    /// A handshake without a network, with a server that shows this certificate.
    fn meet(client: ClientConfig, shown: &certificates::Certified) -> Result<(), Error> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let resolver = rustls::sign::SingleCertAndKey::from(shown.key.as_ref().clone());
        let mut server = ServerConnection::new(Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver))))?;
        // A name that stands in no certificate.
        let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("198.51.100.1").unwrap())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            let mut unread = wire.as_slice();
            while server.read_tls(&mut unread).unwrap() > 0 {
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut unread = wire.as_slice();
            // A certificate may be longer than what is read at once.
            while client.read_tls(&mut unread).unwrap() > 0 {
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    #[test]
    fn the_pinned_key_is_believed_under_any_name_and_no_other_key_is() {
        let (ours, other) = (key(1), key(2));
        let shown = |key: &SigningKey| certificates::of_manager("manager_0001", key, &[]).unwrap();
        let by_key = || pinned(knowing(&ours, &[])).unwrap();
        let folder = Folder::new();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let by_hash = || pinned(Arc::new(Keys::of_token(&manager_key_hash(&ours.public()).to_uppercase(), Arc::clone(&state)))).unwrap();
        assert_eq!(meet(by_key(), &shown(&ours)), Ok(()));
        assert_eq!(meet(by_hash(), &shown(&ours)), Ok(()));
        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(meet(by_key(), &shown(&other)), unknown);
        assert_eq!(meet(by_hash(), &shown(&other)), unknown);
        let dir = tempfile::tempdir().unwrap();
        let browsers = certificates::generated(dir.path(), &["localhost".into()], None).unwrap();
        assert!(meet(by_key(), &browsers).is_err(), "what browsers are shown is no proof");
    }

    #[test]
    fn a_successor_of_the_pinned_key_is_believed_by_what_its_certificate_says() {
        let [first, second, third, thief] = [1, 2, 3, 9].map(key);
        let once = [statement(&first, &second, 10)];
        let twice = [once[0].clone(), statement(&second, &third, 20)];
        let shown = |key: &SigningKey, said: &[Succession]| certificates::of_manager("manager_0001", key, said).unwrap();
        let meets = |keys: &Arc<Keys>, key: &SigningKey, said: &[Succession]| meet(pinned(Arc::clone(keys)).unwrap(), &shown(key, said));
        let (knows_first, knows_second) = (knowing(&first, &[]), knowing(&second, &once));
        assert_eq!(successions_in(&shown(&third, &twice).key.cert[0]), twice);
        assert_eq!((successions_in(&shown(&third, &[]).key.cert[0]), successions_in(&[])), (vec![], vec![]));
        for keys in [&knows_first, &knows_second] {
            assert_eq!((meets(keys, &second, &once), meets(keys, &third, &twice)), (Ok(()), Ok(())));
        }
        let folder = Folder::new();
        let by_hash = Keys::of_token(&manager_key_hash(&first.public()), Arc::new(State::open(folder.path()).unwrap()));
        assert_eq!(meets(&Arc::new(by_hash), &third, &twice), Ok(()), "an agent with a token of before");

        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(meets(&knows_first, &second, &[]), unknown, "nobody said so");
        assert_eq!(meets(&knows_first, &thief, &once), unknown, "the statements are no secret");
        let mut forged = once.clone();
        (forged[0].new_key, forged[0].signed_by_new) = (statement(&first, &thief, 10).new_key, statement(&first, &thief, 10).signed_by_new);
        assert_eq!(meets(&knows_first, &thief, &forged), unknown, "the old key did not sign that");
        assert_eq!(meets(&knows_first, &third, &twice[1..]), unknown, "with a gap");

        // Whoever has the first key: he leads astray who was not told of the second, and is found out by who was.
        let rival = [statement(&first, &thief, 10)];
        assert_eq!(meets(&knows_first, &thief, &rival), Ok(()));
        let replaced = Err(Error::General(REPLACED.into()));
        assert_eq!((meets(&knows_second, &thief, &rival), meets(&knows_second, &first, &[])), (replaced.clone(), replaced));
        // As many as there may ever be fit into the handshake.
        let many: Vec<Succession> = (1..=32).map(|n| statement(&key(n), &key(n + 1), u64::from(n))).collect();
        assert_eq!(meets(&knows_first, &key(33), &many), Ok(()));
    }

    /// Somebody may show our certificate, which is no secret, and has not our key.
    #[test]
    fn a_certificate_without_its_key_is_not_believed() {
        let (ours, other) = (key(1), key(2));
        let [stolen, signing] = [&ours, &other].map(|key| certificates::of_manager("manager_0001", key, &[]).unwrap().key);
        let pair = rustls::sign::CertifiedKey::new(stolen.cert.clone(), Arc::clone(&signing.key));
        let shown = certificates::Certified { key: Arc::new(pair), fingerprint: String::new() };
        let refused = meet(pinned(knowing(&ours, &[])).unwrap(), &shown).unwrap_err();
        assert_eq!(refused, Error::InvalidCertificate(CertificateError::BadSignature));
    }

    #[test]
    fn a_clock_of_1970_or_of_the_next_century_does_not_matter() {
        #[derive(Debug)]
        struct At(u64);
        impl TimeProvider for At {
            fn current_time(&self) -> Option<UnixTime> {
                Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
            }
        }
        let ours = key(1);
        for seconds in [0, 10_000_000_000] {
            let config = ClientConfig::builder_with_details(provider(), Arc::new(At(seconds))).with_protocol_versions(&[&TLS13]).unwrap();
            let verifier = Pinned { keys: knowing(&ours, &[]), algorithms: provider().signature_verification_algorithms };
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
            assert_eq!(meet(config, &certificates::of_manager("manager_0001", &ours, &[]).unwrap()), Ok(()), "{seconds}");
        }
    }
}

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

use crate::crypto::{KEY_LEN, PublicKey};
use crate::domain::enrolment::manager_key_hash;
use crate::http;

/// What the agent knows of its manager's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// Since its enrolment.
    Key(PublicKey),
    /// Before, from the enrolment token: what `manager_key_hash` gives.
    Hash(String),
}

impl Pin {
    fn fits(&self, key: &PublicKey) -> bool {
        match self {
            Pin::Key(pinned) => pinned == key,
            Pin::Hash(hash) => manager_key_hash(key) == hash.to_ascii_lowercase(),
        }
    }
}

/// Believes the holder of the pinned key. Names do not matter, because the key does not depend on them; dates do not either: the clock of a board without a
/// battery says 1970, and the manager's certificate is made anew at each of its starts.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
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
        let fits = key_of(shown).is_some_and(|key| self.pin.fits(&key));
        // That the other side holds this key too, its signature over the handshake says.
        if fits { Ok(ServerCertVerified::assertion()) } else { Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) }
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Believes the pinned key alone.
pub fn pinned(pin: Pin) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier = Arc::new(Pinned { pin, algorithms: provider.signature_verification_algorithms });
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
    use crate::api::certificates;
    use crate::crypto::{SecretKey, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(SecretKey([seed; KEY_LEN]))
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
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_pinned_key_is_believed_under_any_name_and_no_other_key_is() {
        let (ours, other) = (key(1), key(2));
        let shown = |key: &SigningKey| certificates::of_manager("manager", key).unwrap();
        let by_key = || pinned(Pin::Key(ours.public())).unwrap();
        let by_hash = || pinned(Pin::Hash(manager_key_hash(&ours.public()).to_uppercase())).unwrap();
        assert_eq!(meet(by_key(), &shown(&ours)), Ok(()));
        assert_eq!(meet(by_hash(), &shown(&ours)), Ok(()));
        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(meet(by_key(), &shown(&other)), unknown);
        assert_eq!(meet(by_hash(), &shown(&other)), unknown);
        let dir = tempfile::tempdir().unwrap();
        let browsers = certificates::generated(dir.path(), &["localhost".into()], None).unwrap();
        assert!(meet(by_key(), &browsers).is_err(), "what browsers are shown is no proof");
    }

    /// Somebody may show our certificate, which is no secret, and has not our key.
    #[test]
    fn a_certificate_without_its_key_is_not_believed() {
        let (ours, other) = (key(1), key(2));
        let [stolen, signing] = [&ours, &other].map(|key| certificates::of_manager("manager", key).unwrap().key);
        let pair = rustls::sign::CertifiedKey::new(stolen.cert.clone(), Arc::clone(&signing.key));
        let shown = certificates::Certified { key: Arc::new(pair), fingerprint: String::new() };
        let refused = meet(pinned(Pin::Key(ours.public())).unwrap(), &shown).unwrap_err();
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
            let verifier = Pinned { pin: Pin::Key(ours.public()), algorithms: provider().signature_verification_algorithms };
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
            assert_eq!(meet(config, &certificates::of_manager("manager", &ours).unwrap()), Ok(()), "{seconds}");
        }
    }
}

//! TLS of the manager: which certificate a client is shown, and when the owner's is read again.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ServerConfig};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{SignatureScheme, SupportedProtocolVersion};
use tokio::sync::watch;

use super::certificates::{self, Certified, Files};
use super::server::stopped;
use crate::crypto::SigningKey;
use crate::domain::proof::succession::Succession;

/// How often the owner's files are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// What the manager needs to speak TLS. Shared by all listeners.
pub struct Tls {
    provider: Arc<CryptoProvider>,
    people: RwLock<Shown>,
    agents: Arc<ServerConfig>,
    own: Option<Files>,
}

/// What browsers and programs are shown at present.
struct Shown {
    config: Arc<ServerConfig>,
    certified: Certified,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.fingerprint())
    }
}

/// Where certificates come from.
pub struct Source<'a> {
    pub data_dir: &'a Path,
    /// The owner's certificate; one is generated without it.
    pub own: Option<Files>,
    /// Names and addresses that a generated certificate has.
    pub hosts: &'a [String],
    /// Host of the public URL, which a generated certificate must have.
    pub public_host: Option<&'a str>,
    pub manager_id: &'a str,
    pub signing_key: &'a SigningKey,
    /// Keys that took over from each other until this one.
    pub successions: &'a [Succession],
}

impl Tls {
    /// Reads or makes the certificates; an error names the file.
    pub fn open(source: Source<'_>) -> Result<Tls, String> {
        let Source { data_dir, own, hosts, public_host, manager_id, signing_key, successions } = source;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified = match &own {
            Some(files) => certificates::read(files)?,
            None => certificates::generated(data_dir, hosts, public_host)?,
        };
        if let (Some(_), Some(host)) = (&own, public_host)
            && !certified.names(host)
        {
            tracing::warn!(host, "the certificate of server.certificate_file does not name the host of server.public_url");
        }
        // In TLS 1.2 a client picks the first bytes of what the server signs; the key that signs reports is not lent to that.
        let agents = config(&provider, &[&TLS13], &certificates::of_manager(manager_id, signing_key, successions)?)?;
        let people = RwLock::new(Shown { config: config(&provider, &[&TLS13, &TLS12], &certified)?, certified });
        Ok(Tls { provider, people, agents, own })
    }

    /// SHA-256 of the certificate that browsers are shown.
    pub fn fingerprint(&self) -> String {
        self.people.read().unwrap_or_else(PoisonError::into_inner).certified.fingerprint.clone()
    }

    /// The certificate is the owner's, not a generated one.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Agents offer Ed25519 and nothing else; no browser does.
    pub(super) fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        if hello.signature_schemes() == [SignatureScheme::ED25519] {
            Arc::clone(&self.agents)
        } else {
            Arc::clone(&self.people.read().unwrap_or_else(PoisonError::into_inner).config)
        }
    }

    /// Reads the owner's certificate again when its files change, until the process stops. What does not read changes nothing.
    pub async fn follow(&self, mut stopping: watch::Receiver<bool>) {
        let Some(files) = &self.own else { return };
        let mut seen = certificates::changed_at(files);
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = certificates::changed_at(files);
            if now != seen && now.is_some() {
                // Renewed in two steps, the files may not fit yet: they are looked at again.
                match self.read_again(files) {
                    Ok(()) => seen = now,
                    Err(error) => tracing::warn!(error, "the new certificate cannot be used; the one before stays"),
                }
            }
        }
    }

    fn read_again(&self, files: &Files) -> Result<(), String> {
        let certified = certificates::read(files)?;
        let config = config(&self.provider, &[&TLS13, &TLS12], &certified)?;
        tracing::info!(fingerprint = certified.fingerprint, "the certificate was read again");
        *self.people.write().unwrap_or_else(PoisonError::into_inner) = Shown { config, certified };
        Ok(())
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    certified: &Certified,
) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions);
    let resolver = Arc::new(SingleCertAndKey::from(certified.key.as_ref().clone()));
    let mut config = builder.map_err(|e| e.to_string())?.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Idle connections end after seconds; who comes back once per slot need not shake hands in full.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|e| e.to_string())?;
    // One ticket per handshake: nobody here opens connections by the dozen.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;

    #[test]
    fn a_renewed_certificate_of_the_owner_is_used_and_a_broken_one_is_not() {
        let [one, two, data] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let hosts = ["localhost".to_owned()];
        let [first, second] = [&one, &two].map(|dir| certificates::generated(dir.path(), &hosts, None).unwrap().fingerprint);
        let file = |dir: &tempfile::TempDir, name: &str| dir.path().join("tls").join(name);
        let files = Files { certificate: file(&one, "certificate.pem"), key: file(&one, "key.pem") };
        let key = SigningKey::from_seed(SecretKey([5; 32]));
        let source = Source {
            data_dir: data.path(),
            own: Some(files.clone()),
            hosts: &hosts,
            public_host: Some("nodes.example"),
            manager_id: "m",
            signing_key: &key,
            successions: &[],
        };
        let tls = Tls::open(source).unwrap();
        assert!(tls.is_own() && tls.fingerprint() == first);
        assert!(!data.path().join("tls").exists(), "nothing is generated beside it");
        std::fs::copy(file(&two, "certificate.pem"), &files.certificate).unwrap();
        assert!(tls.read_again(&files).is_err());
        assert_eq!(tls.fingerprint(), first);
        std::fs::copy(file(&two, "key.pem"), &files.key).unwrap();
        tls.read_again(&files).unwrap();
        assert_eq!(tls.fingerprint(), second);
    }
}

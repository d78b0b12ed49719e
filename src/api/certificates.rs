//! The certificates that this manager shows: to browsers and programs one of its own making or the owner's, to agents one of the very key that they
//! pinned when they enrolled.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd,
};
use rustls::client::verify_server_name;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::crypto::{KEY_LEN, SigningKey, sha256};
use crate::domain::proof::succession::Succession;
use crate::wire::SUCCESSIONS_OID;

/// Folder of the generated certificate, below the data folder.
const FOLDER: &str = "tls";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// A certificate with its chain, or a key, has far fewer bytes; more is something else.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Where the owner keeps a certificate (PEM, the chain included) and its key (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate with its key, and its SHA-256 as browsers show it.
#[derive(Debug, Clone)]
pub struct Certified {
    pub key: Arc<CertifiedKey>,
    pub fingerprint: String,
}

impl Certified {
    fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<Certified, String> {
        let fingerprint = fingerprint(chain.first().ok_or("it holds no certificate")?);
        let key = CertifiedKey::new(chain, any_supported_type(key).map_err(|_| "the key is of no kind that TLS can use")?);
        match key.keys_match() {
            // A kind of key that cannot tell its public half is tried in the first handshake.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err("the key is not the one of the certificate".into()),
        }
        Ok(Certified { key: Arc::new(key), fingerprint })
    }

    /// Whether a client that asks for this name or address is shown a certificate that names it.
    pub fn names(&self, host: &str) -> bool {
        let (Some(first), Ok(name)) = (self.key.cert.first(), ServerName::try_from(host)) else { return false };
        ParsedCertificate::try_from(first).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}

/// SHA-256 of the certificate, in pairs of capital hex digits.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<String> = sha256(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The owner's certificate. An error says which file is wrong and why.
pub fn read(files: &Files) -> Result<Certified, String> {
    let named = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = bounded(&files.certificate).map_err(|e| named(&files.certificate, &e))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|e| named(&files.certificate, &e))?;
    if chain.is_empty() {
        return Err(named(&files.certificate, &"it holds no certificate"));
    }
    let key = bounded(&files.key).map_err(|e| named(&files.key, &e))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| named(&files.key, &e))?;
    Certified::new(chain, &key).map_err(|why| named(&files.certificate, &why))
}

/// When either file was last written; None while one is missing.
pub fn changed_at(files: &Files) -> Option<(SystemTime, SystemTime)> {
    let at = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    Some((at(&files.certificate)?, at(&files.key)?))
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The generated certificate of this data folder: made once, and again when it does not name `wanted`, the host of the public URL. `hosts` are names
/// and addresses of this machine.
pub fn generated(data_dir: &Path, hosts: &[String], wanted: Option<&str>) -> Result<Certified, String> {
    let folder = data_dir.join(FOLDER);
    let files = Files { certificate: folder.join(CERTIFICATE), key: folder.join(KEY) };
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    if files.certificate.exists() {
        match read(&files) {
            Ok(kept) if wanted.is_none_or(|host| kept.names(host)) => return Ok(kept),
            Ok(_) => tracing::info!("the certificate does not name the host of server.public_url and is made anew"),
            // A power cut between the two files, before anybody saw this certificate, or a damaged file. Then browsers warn once more; agents go by
            // the manager's key and do not notice.
            Err(error) => tracing::warn!(error, "the generated certificate does not read and is made anew"),
        }
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
    let certificate = self_signed(hosts.iter().map(String::as_str).chain(wanted), "Lucid Node Management", &key, None)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    write(&files.key, &pem("PRIVATE KEY", key.serialized_der())).map_err(failed)?;
    write(&files.certificate, &pem("CERTIFICATE", &certificate)).map_err(failed)?;
    read(&files)
}

/// What agents are shown: a certificate over the manager's own signing key, made at each start and never compared as a whole. Once keys have taken over from each
/// other it says so, for agents that pinned a former one.
pub fn of_manager(manager_id: &str, key: &SigningKey, successions: &[Succession]) -> Result<Certified, String> {
    /// RFC 8410, section 7: what stands before the 32 bytes of an Ed25519 seed in PKCS #8.
    const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut pkcs8 = zeroize::Zeroizing::new([0; 16 + KEY_LEN]);
    pkcs8[..16].copy_from_slice(&PKCS8_HEAD);
    pkcs8[16..].copy_from_slice(&key.seed().0);
    let pkcs8 = PrivatePkcs8KeyDer::from(&pkcs8[..]);
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519).map_err(|e| e.to_string())?;
    let certificate = self_signed(std::iter::once("lucid-manager.invalid"), manager_id, &pair, extension(successions)?)?;
    Certified::new(vec![certificate], &PrivateKeyDer::Pkcs8(pkcs8.clone_key()))
}

/// The statements as a UTF8String, in an extension that who does not know it may pass over.
fn extension(successions: &[Succession]) -> Result<Option<CustomExtension>, String> {
    if successions.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_vec(successions).map_err(|e| e.to_string())?;
    let length = u16::try_from(text.len()).map_err(|_| "too many statements of succession for a certificate")?.to_be_bytes();
    // DER wants the shortest way to write a length; statements are longer than the 255 bytes of the next shorter one.
    let field = [&[0x0c, 0x82, length[0], length[1]], text.as_slice()].concat();
    Ok(Some(CustomExtension::from_oid_content(&SUCCESSIONS_OID, field)))
}

/// Valid from 2020 to 2049: a Pi without a battery for its clock must not show a certificate of the future.
fn self_signed<'a>(
    hosts: impl Iterator<Item = &'a str>,
    name: &str,
    key: &KeyPair,
    extension: Option<CustomExtension>,
) -> Result<CertificateDer<'static>, String> {
    let mut known: Vec<String> = Vec::new();
    for host in hosts.filter(|host| ServerName::try_from(*host).is_ok()) {
        if !known.iter().any(|other| other == host) {
            known.push(host.to_owned());
        }
    }
    let mut params = CertificateParams::new(known).map_err(|e| e.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.custom_extensions = extension.into_iter().collect();
    let certificate = params.self_signed(key).map_err(|e| e.to_string())?;
    Ok(certificate.der().clone())
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> zeroize::Zeroizing<String> {
    let text = zeroize::Zeroizing::new(BASE64.encode(der));
    let mut out = zeroize::Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for start in (0..text.len()).step_by(64) {
        out.push_str(&text[start..text.len().min(start + 64)]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Durably, readable by the owner only; a power cut leaves the whole file or the one before.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Names and addresses by which people may reach this machine.
pub fn hosts_of_machine(name: &str, addresses: &[IpAddr]) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !name.is_empty() {
        hosts.push(name.to_owned());
        if !name.contains('.') {
            hosts.push(format!("{name}.local"));
        }
    }
    hosts.extend(addresses.iter().map(ToString::to_string));
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use std::os::unix::fs::PermissionsExt;

    fn made(dir: &Path, wanted: Option<&str>) -> Certified {
        generated(dir, &hosts_of_machine("pi", &["192.0.2.7".parse().unwrap()]), wanted).unwrap()
    }

    #[test]
    fn a_certificate_is_made_once_and_again_only_for_a_new_public_host() {
        let dir = tempfile::tempdir().unwrap();
        let first = made(dir.path(), None);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        for host in ["localhost", "127.0.0.1", "::1", "pi", "pi.local", "192.0.2.7"] {
            assert!(first.names(host), "{host}");
        }
        assert!(!first.names("nodes.example") && !first.names("192.0.2.8"));
        assert_eq!(made(dir.path(), Some("pi.local")).fingerprint, first.fingerprint);
        let second = made(dir.path(), Some("nodes.example"));
        assert!(second.fingerprint != first.fingerprint && second.names("nodes.example") && second.names("pi"));
        assert_eq!(made(dir.path(), Some("nodes.example")).fingerprint, second.fingerprint);
        let mode = |name: &str| fs::metadata(dir.path().join(FOLDER).join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode(KEY)), (0o700, 0o600));
    }

    #[test]
    fn a_damaged_pair_of_ours_is_made_anew_and_one_of_the_owner_is_refused() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (made(dir.path(), None), made(other.path(), None));
        fs::copy(other.path().join(FOLDER).join(KEY), dir.path().join(FOLDER).join(KEY)).unwrap();
        let files = Files { certificate: dir.path().join(FOLDER).join(CERTIFICATE), key: dir.path().join(FOLDER).join(KEY) };
        let error = read(&files).unwrap_err();
        assert!(error.ends_with("the key is not the one of the certificate"), "{error}");
        let again = made(dir.path(), None);
        assert!(again.fingerprint != ours.fingerprint && again.fingerprint != theirs.fingerprint);
        let swapped = Files { certificate: files.key.clone(), key: files.certificate.clone() };
        assert!(read(&swapped).unwrap_err().contains("holds no certificate"));
        let missing = Files { key: dir.path().join("nowhere.pem"), ..files };
        assert!(read(&missing).unwrap_err().contains("nowhere.pem"));
        assert_eq!(changed_at(&missing), None);
    }

    #[test]
    fn agents_are_shown_the_managers_key_in_every_certificate() {
        let key = SigningKey::from_seed(SecretKey([3; 32]));
        let shown = of_manager("manager_1", &key, &[]).unwrap();
        let parsed = ParsedCertificate::try_from(&shown.key.cert[0]).unwrap();
        assert!(parsed.subject_public_key_info().ends_with(&key.public().0));
    }
}

//! Thin names over `ring` and `argon2`. No randomness of its own: keys, nonces and salts are arguments, so that
//! everything above stays deterministic. `Entropy` is the one place that asks the system for random bytes.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub const KEY_LEN: usize = 32;
pub const NONCE_LEN: usize = 12;
pub const SIGNATURE_LEN: usize = 64;

/// 32 secret bytes that are wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(pub [u8; KEY_LEN]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(***)")
    }
}

impl SecretKey {
    /// A key for one purpose, bound to `label`.
    pub fn derive(&self, label: &str) -> SecretKey {
        SecretKey(mac(self, &[b"lucid/derive/v1", label.as_bytes()]))
    }
}

/// Random bytes from the system.
#[derive(Debug, Clone)]
pub struct Entropy(SystemRandom);

impl Default for Entropy {
    fn default() -> Entropy {
        Entropy::new()
    }
}

impl Entropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for random bytes")]
    pub fn new() -> Entropy {
        Entropy(SystemRandom::new())
    }

    #[expect(clippy::expect_used, reason = "a kernel without randomness is no place to handle money")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill(&mut out).expect("the system's random source");
        out
    }

    pub fn u64(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// UUIDv7 for new ids; `unix_ms` orders them.
    pub fn uuid(&self, unix_ms: i64) -> uuid::Uuid {
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(unix_ms).unwrap_or(0), &self.bytes()).into_uuid()
    }
}

pub fn sha256(data: &[u8]) -> [u8; 32] {
    sha256_parts(&[data])
}

/// SHA-256 over the concatenation of `parts`.
pub fn sha256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finish()
}

/// SHA-256 of what comes piece by piece.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    pub fn new() -> Sha256 {
        Sha256(digest::Context::new(&digest::SHA256))
    }

    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// HMAC-SHA-256 over length-prefixed `parts`, so that no two lists of parts collide.
pub fn mac(key: &SecretKey, parts: &[&[u8]]) -> [u8; 32] {
    MacKey::new(key).mac(parts)
}

/// The key of `mac`, prepared for many of them: that is half of the work of a short one.
pub struct MacKey(hmac::Key);

impl MacKey {
    pub fn new(key: &SecretKey) -> MacKey {
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, &key.0))
    }

    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// Plain HMAC-SHA-256 over the parts one after the other, for those outside who check it: `mac` is for ourselves.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// HMAC-SHA-1, for one-time passwords only: authenticator apps know nothing else (RFC 6238).
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), message).as_ref());
    out
}

pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// An Ed25519 key pair; the seed is its only secret.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: SecretKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", hex(&self.public().0))
    }
}

impl SigningKey {
    #[expect(clippy::expect_used, reason = "every 32-byte seed is an Ed25519 key")]
    pub fn from_seed(seed: SecretKey) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).expect("32 bytes");
        SigningKey { pair, seed }
    }

    pub fn seed(&self) -> &SecretKey {
        &self.seed
    }

    pub fn public(&self) -> PublicKey {
        let mut out = [0; KEY_LEN];
        out.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(out)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut out = [0; SIGNATURE_LEN];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

/// An Ed25519 public key; text form is 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct PublicKey(pub [u8; KEY_LEN]);

impl PublicKey {
    pub fn from_hex(text: &str) -> Option<PublicKey> {
        unhex(text)?.try_into().ok().map(PublicKey)
    }

    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// Why sealed bytes do not open: another key, another context, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoesNotOpen;

fn aead(key: &SecretKey) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "the key has the length of the algorithm")]
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key.0).expect("32 bytes"))
}

/// ChaCha20-Poly1305: nonce || ciphertext || tag. `context` is authenticated, so that a value cannot be moved
/// to another place. The nonce must be random per call.
pub fn seal(key: &SecretKey, nonce: [u8; NONCE_LEN], context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut body = plain.to_vec();
    #[expect(clippy::expect_used, reason = "fails only beyond 256 GiB")]
    aead(key).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body).expect("a value of sane size");
    let mut out = nonce.to_vec();
    out.append(&mut body);
    out
}

pub fn open(key: &SecretKey, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(DoesNotOpen)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
    // Opened in place: what is left of it here is as secret as what is returned.
    let mut body = Zeroizing::new(body.to_vec());
    let plain = aead(key).open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| DoesNotOpen)?;
    Ok(plain.to_vec())
}

/// Memory of one Argon2id run in KiB, passes and lanes (OWASP's first choice; 19 MiB for each run in flight).
pub const ARGON2_KIB: u32 = 19_456;
pub const ARGON2_PASSES: u32 = 2;
pub const ARGON2_LANES: u32 = 1;

/// Argon2id of a password or passphrase. Takes tens of milliseconds and 19 MiB: one at a time.
#[expect(clippy::expect_used, reason = "the parameters are constants and the salt has 16 bytes")]
pub fn stretch(password: &str, salt: &[u8; 16]) -> SecretKey {
    stretch_with(StretchCost { memory_kib: ARGON2_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES }, password, salt)
        .expect("constant parameters")
}

/// What one run of Argon2id costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StretchCost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// Argon2id at a cost of the caller's choice; `None` for a cost that the algorithm does not have.
pub fn stretch_with(cost: StretchCost, password: &str, salt: &[u8; 16]) -> Option<SecretKey> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN)).ok()?;
    let mut out = SecretKey([0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password.as_bytes(), salt, &mut out.0).ok()?;
    Some(out)
}

/// HS256 JWT; the algorithm is pinned on both sides.
pub fn jwt_encode(key: &SecretKey, claims: &impl Serialize) -> Result<String, serde_json::Error> {
    let head = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let body = BASE64URL_NOPAD.encode(&serde_json::to_vec(claims)?);
    let signed = format!("{head}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.0), signed.as_bytes());
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref())))
}

/// The claims of a JWT whose signature is ours; expiry is the caller's to check, with its own `now`.
pub fn jwt_decode<T: DeserializeOwned>(key: &SecretKey, token: &str) -> Option<T> {
    jwt_claims(&key.0, token)
}

/// A secret text that another program signs its JWTs with; wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct JwtSecret(Vec<u8>);

impl JwtSecret {
    pub fn new(text: &str) -> JwtSecret {
        JwtSecret(text.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret(***)")
    }
}

/// As `jwt_decode`, of who shares the secret.
pub fn jwt_decode_shared<T: DeserializeOwned>(secret: &JwtSecret, token: &str) -> Option<T> {
    jwt_claims(&secret.0, token)
}

fn jwt_claims<T: DeserializeOwned>(key: &[u8], token: &str) -> Option<T> {
    #[derive(serde::Deserialize)]
    struct Header {
        alg: String,
        /// Extensions that have to be understood; none is.
        crit: Option<serde::de::IgnoredAny>,
    }
    let (signed, tag) = token.rsplit_once('.')?;
    let (head, body) = signed.split_once('.')?;
    let header: Header = serde_json::from_slice(&BASE64URL_NOPAD.decode(head.as_bytes()).ok()?).ok()?;
    if header.alg != "HS256" || header.crit.is_some() {
        return None;
    }
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes(), &tag).ok()?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes()).ok()?).ok()
}

pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// With padding.
pub fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SecretKey = SecretKey([7; 32]);

    #[test]
    fn sealed_values_open_only_with_their_key_and_context() {
        let sealed = seal(&KEY, [1; 12], b"a", b"secret");
        assert_eq!(open(&KEY, b"a", &sealed).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(open(&KEY, b"b", &sealed), Err(DoesNotOpen));
        assert_eq!(open(&SecretKey([8; 32]), b"a", &sealed), Err(DoesNotOpen));
        for cut in 0..sealed.len() {
            assert_eq!(open(&KEY, b"a", &sealed[..cut]), Err(DoesNotOpen));
        }
    }

    #[test]
    fn ed25519_matches_rfc_8032_test_1() {
        let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_seed(SecretKey(seed.try_into().unwrap()));
        assert_eq!(key.public().to_hex(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(
            hex(&key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
        assert!(key.public().verifies(b"", &key.sign(b"")));
        assert!(!key.public().verifies(b"x", &key.sign(b"")));
    }

    #[test]
    fn jwt_pins_the_algorithm_and_the_key() {
        let claims = serde_json::json!({"sub": "node_abc"});
        let token = jwt_encode(&KEY, &claims).unwrap();
        assert_eq!(jwt_decode::<serde_json::Value>(&KEY, &token), Some(claims));
        assert_eq!(jwt_decode::<serde_json::Value>(&SecretKey([0; 32]), &token), None);
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let body = token.split('.').nth(1).unwrap();
        assert_eq!(jwt_decode::<serde_json::Value>(&KEY, &format!("{none}.{body}.")), None);
    }

    #[test]
    fn mac_parts_do_not_run_together() {
        assert_ne!(mac(&KEY, &[b"ab", b"c"]), mac(&KEY, &[b"a", b"bc"]));
    }
}

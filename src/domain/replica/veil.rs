//! Takes out of texts what must not leave in clear: addresses of wallets, and what of a URL may be a secret.

use std::borrow::Cow;

use super::{Fields, Value};
use crate::domain::address::{TronAddress, masked};

/// The fields with every text in them veiled, however deep it is.
pub fn veiled(fields: Fields) -> Fields {
    fields.into_iter().map(|(name, value)| (name, of_value(value))).collect()
}

fn of_value(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(of_text(&text)),
        Value::List(values) => Value::List(values.into_iter().map(of_value).collect()),
        Value::Fields(fields) => Value::Fields(veiled(fields)),
        other => other,
    }
}

fn of_text(text: &str) -> String {
    without_addresses(&without_paths(text))
}

/// Every word that is an address keeps its last four characters.
fn without_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_alphanumeric()) {
        let (before, after) = rest.split_at(end);
        out.push_str(&shown(before));
        let between = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..between]);
        rest = &after[between..];
    }
    out.push_str(&shown(rest));
    out
}

fn shown(word: &str) -> Cow<'_, str> {
    if is_address(word) { Cow::Owned(masked(word)) } else { Cow::Borrowed(word) }
}

/// Of TRON in either form, or of LUCID whatever its case.
fn is_address(word: &str) -> bool {
    let is_hex = |digits: &str, count: usize| digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    word.strip_prefix("0x").is_some_and(|digits| is_hex(digits, 40))
        || (word.starts_with("41") && is_hex(word, 42))
        || TronAddress::parse(word).is_ok()
}

/// Of every URL its scheme, host and port stay.
fn without_paths(text: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SCHEME_END) {
        let (scheme, after) = rest.split_at(at + SCHEME_END.len());
        let is_over = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | '}' | ',');
        let (url, more) = after.split_at(after.find(is_over).unwrap_or(after.len()));
        let (authority, path) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        out.push_str(scheme);
        out.push_str(authority.rsplit('@').next().unwrap_or_default());
        out.push_str(if path.is_empty() || path == "/" { path } else { "/…" });
        rest = more;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRON: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
    const LUCID: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    #[test]
    fn addresses_and_paths_go_and_the_rest_of_a_text_stays() {
        let hex = format!("41{}", "ab".repeat(20));
        let cases = [
            (format!("asked for {TRON}, answered {LUCID}"), "asked for …rqv3, answered …eAed".to_owned()),
            (format!("unlisted-{TRON}-70000000"), "unlisted-…rqv3-70000000".into()),
            (LUCID.to_lowercase(), "…eaed".into()),
            (format!("to {hex}!"), "to …abab!".into()),
            ("ab".repeat(32), "ab".repeat(32)),
            ("at https://me:pw@a.example:8443/hook/s3cret?key=1, twice".into(), "at https://a.example:8443/…, twice".into()),
            ("(http://a.example/) and `https://b.example`".into(), "(http://a.example/) and `https://b.example`".into()),
            (format!("ü{TRON}ß, node_0123, 12.5 USDT"), "ü…rqv3ß, node_0123, 12.5 USDT".into()),
            (String::new(), String::new()),
        ];
        for (text, expected) in cases {
            assert_eq!(of_text(&text), expected);
        }
        let inner: Fields = vec![("a", TRON.into()), ("b", Value::List(vec![TRON.into(), 1u32.into()]))];
        let veiled = veiled(vec![("inner", inner.into())]);
        let expected: Fields = vec![("a", "…rqv3".into()), ("b", Value::List(vec!["…rqv3".into(), 1u32.into()]))];
        assert_eq!(veiled, vec![("inner", Value::Fields(expected))]);
    }
}

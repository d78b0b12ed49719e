//! What parsers say about a value, in the words of the document: whoever writes a request need not know what this program is written in.

/// A parser's message as `must be a whole number`. What our own rules say passes as it is.
pub fn plain(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        return one_of(rest);
    }
    if let Some((found, expected)) = wrong(message) {
        return must_be(found, expected);
    }
    match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => "must be a whole number".into(),
        "number too large to fit in target type" => "is too large a number".into(),
        "number too small to fit in target type" => "is too small a number".into(),
        "invalid float literal" | "cannot parse float from empty string" => "must be a number".into(),
        "provided string was not `true` or `false`" => "must be true or false".into(),
        _ if message.starts_with("data did not match any variant") => "has none of the forms that this field takes".into(),
        _ => message.to_owned(),
    }
}

/// What was found and what was expected instead.
fn wrong(message: &str) -> Option<(&str, &str)> {
    let rest = ["invalid type: ", "invalid value: ", "invalid length "].iter().find_map(|prefix| message.strip_prefix(prefix))?;
    // The last one: what was found may be a text of any words.
    rest.rsplit_once(", expected ")
}

/// `x`, expected one of `a`, `b`: the words behind the last "expected", because the first is the client's.
fn one_of(rest: &str) -> String {
    let expected = rest.rsplit_once("`, expected ").map_or("", |(_, expected)| expected);
    let words: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    if words.is_empty() { "is not a word that this field takes".into() } else { format!("must be one of {}", words.join(", ")) }
}

fn must_be(found: &str, expected: &str) -> String {
    let written = found.strip_prefix("integer `").and_then(|rest| rest.strip_suffix('`'));
    if let (Some(number), Some((least, most))) = (written, bounds(expected)) {
        return if number.starts_with('-') { format!("must be at least {least}") } else { format!("must be at most {most}") };
    }
    let wanted = match expected {
        "f32" | "f64" => "a number",
        "bool" | "a boolean" => "true or false",
        "a string" | "a borrowed string" | "str" | "string" | "a character" => "a text",
        "unit" | "null" => "null",
        _ if bounds(expected).is_some() => "a whole number",
        _ if ["a sequence", "an array", "a tuple", "tuple"].iter().any(|list| expected.starts_with(list)) => "a list",
        _ if expected.starts_with("struct ") || ["a map", "map"].contains(&expected) => "an object",
        _ if expected.contains("variant") || expected.starts_with("enum ") || expected == "string or map" => {
            return "is not a word that this field takes".into();
        }
        // A rule of our own says what it takes.
        _ if expected.starts_with("a ") || expected.starts_with("an ") => expected,
        _ => return "is of a type that this field does not take".into(),
    };
    format!("must be {wanted}")
}

/// The least and the most that a type of this name holds.
fn bounds(name: &str) -> Option<(i128, i128)> {
    Some(match name {
        "u8" => (0, u8::MAX.into()),
        "u16" => (0, u16::MAX.into()),
        "u32" => (0, u32::MAX.into()),
        "u64" | "usize" => (0, u64::MAX.into()),
        "i8" => (i8::MIN.into(), i8::MAX.into()),
        "i16" => (i16::MIN.into(), i16::MAX.into()),
        "i32" => (i32::MIN.into(), i32::MAX.into()),
        "i64" | "isize" => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::super::json::parse;
    use super::plain;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        a: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        One,
        TwoWords,
    }

    fn told<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> String {
        parse::<T>(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_in_plain_words() {
        let table = [
            (told::<u32>("\"x\""), "must be a whole number"),
            (told::<u32>("1.5"), "must be a whole number"),
            (told::<u32>("null"), "must be a whole number"),
            (told::<u32>("-1"), "must be at least 0"),
            (told::<u32>("4294967296"), "must be at most 4294967295"),
            (told::<i8>("-129"), "must be at least -128"),
            (told::<f64>("true"), "must be a number"),
            (told::<bool>("1"), "must be true or false"),
            (told::<String>("[1]"), "must be a text"),
            (told::<String>("{}"), "must be a text"),
            (told::<Vec<u8>>("{}"), "must be a list"),
            (told::<[u8; 2]>("[1]"), "must be a list"),
            (told::<BTreeMap<String, u8>>("3"), "must be an object"),
            (told::<Inner>("\"a, expected u8\""), "must be an object"),
            (told::<Inner>(r#"{"a": ", expected `u8`"}"#), "a: must be a whole number"),
            (told::<Word>("\"`, expected one of `evil`\""), "must be one of one, two_words"),
            (told::<Word>("7"), "is not a value that this field takes"),
            (told::<Vec<Word>>("[\"one\", null]"), "[1]: is not a value that this field takes"),
            (told::<Inner>("{\"a\": 1,}"), "the body is no JSON: line 1, column 9"),
            (told::<Inner>("{\"a\": 1"), "the body is no JSON: it ends too early"),
            (told::<Inner>(""), "the body is no JSON: it ends too early"),
            (told::<Inner>("{\"a\": x}"), "the body is no JSON: line 1, column 7"),
        ];
        for (n, (said, expected)) in table.iter().enumerate() {
            assert_eq!(said, expected, "row {n}");
        }
    }

    #[test]
    fn so_is_what_is_wrong_with_a_query_and_our_own_words_stay() {
        let table = [
            ("invalid digit found in string", "must be a whole number"),
            ("number too large to fit in target type", "is too large a number"),
            ("invalid float literal", "must be a number"),
            ("provided string was not `true` or `false`", "must be true or false"),
            ("unknown variant `x`, expected `a` or `b`", "must be one of a, b"),
            ("unknown variant `x`, expected `a`", "must be one of a"),
            ("unknown variant `x`, there are no variants", "is not a word that this field takes"),
            ("invalid type: map, expected a set of rights", "must be a set of rights"),
            ("invalid type: map, expected NewNode", "is of a type that this field does not take"),
            ("data did not match any variant of untagged enum Amount", "has none of the forms that this field takes"),
            ("must be 3 to 100 characters", "must be 3 to 100 characters"),
        ];
        for (said, expected) in table {
            assert_eq!(plain(said), expected, "{said}");
        }
    }
}

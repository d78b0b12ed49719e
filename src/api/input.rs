//! Parts of request bodies that need more than a derived parser: exact amounts, and records shared with the agent's tolerant wire format.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::money::{Amount, AmountError, Currency};
use crate::domain::refusal::FieldErrors;

/// A text of a person without the white space around it. Its length counts without that, but may not be beyond the bound with it either: that is what the document says.
pub fn trimmed(errors: &mut FieldErrors, field: &str, text: &str, length: RangeInclusive<usize>) -> String {
    let kept = text.trim();
    let fits = length.contains(&kept.chars().count()) && text.chars().count() <= *length.end();
    let least = if *length.start() == 0 { "at most".to_owned() } else { format!("{} to", length.start()) };
    errors.require(fits, field, format!("must have {least} {} characters", length.end()));
    kept.to_owned()
}

/// Why somebody did it, for the log and the book.
pub fn reason(errors: &mut FieldErrors, text: &str) -> String {
    trimmed(errors, "reason", text, 3..=500)
}

/// An amount as it was written, number or string: read exactly, never through a float.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct RawAmount(Box<RawValue>);

impl RawAmount {
    pub fn parse(&self, currency: Currency) -> Result<Amount, AmountError> {
        let raw = self.0.get().trim();
        if raw.starts_with('"') {
            let text: String = serde_json::from_str(raw).map_err(|_| AmountError::NotANumber)?;
            return Amount::parse(&text, currency);
        }
        Amount::parse(raw, currency)
    }
}

/// A record that the agent may send with fields we do not know, read from a person: there an unknown field is a mistake.
#[derive(Debug)]
pub struct Strict<T>(pub T);

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict<T>, D::Error> {
        let Once(given) = Once::deserialize(deserializer)?;
        let parsed: T = serde_path_to_error::deserialize(&given)
            .map_err(|e| D::Error::custom(in_place(&e.path().to_string(), &e.inner().to_string())))?;
        let known = serde_json::to_value(&parsed).map_err(D::Error::custom)?;
        match unknown_field(&given, &known) {
            Some(path) => Err(D::Error::custom(format!("unknown field `{path}`"))),
            None => Ok(Strict(parsed)),
        }
    }
}

/// Any value in which no field comes twice: a tree in memory keeps the last one and says nothing.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Once(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::Array(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
                let mut object = Map::new();
                while let Some((name, Once(value))) = fields.next_entry::<String, Once>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    object.insert(name, value);
                }
                Ok(Value::Object(object))
            }
        }

        deserializer.deserialize_any(Any).map(Once)
    }
}

/// The fields of an object, also those that come twice.
pub struct Fields(pub Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Every;

        impl<'de> Visitor<'de> for Every {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Every)
    }
}

/// The message with the inner path where `api::json` looks for a field's name.
fn in_place(path: &str, message: &str) -> String {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    match (missing, path) {
        (Some((name, _)), ".") => format!("missing field `{name}`"),
        (Some((name, _)), path) if path == name || path.ends_with(&format!(".{name}")) => format!("missing field `{path}`"),
        (Some((name, _)), path) => format!("missing field `{path}.{name}`"),
        (None, ".") => message.to_owned(),
        (None, path) => format!("invalid field `{path}`: {message}"),
    }
}

/// The first field that was given and is not in what was read back.
fn unknown_field(given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| match known.get(name) {
            None => Some(name.clone()),
            Some(inner) => unknown_field(value, inner)
                .map(|rest| if rest.starts_with('[') { format!("{name}{rest}") } else { format!("{name}.{rest}") }),
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).enumerate().find_map(|(i, (g, k))| unknown_field(g, k).map(|rest| format!("[{i}].{rest}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::parse;
    use crate::domain::money::Units;
    use crate::domain::node::HardwareInfo;

    #[derive(Debug, Deserialize)]
    struct Body {
        amount: Option<RawAmount>,
        hardware_info: Option<Strict<HardwareInfo>>,
    }

    fn units(text: &str) -> Result<Units, AmountError> {
        let body: Body = parse(format!("{{\"amount\": {text}}}").as_bytes()).unwrap();
        body.amount.unwrap().parse(Currency::Usdt).map(|a| a.units)
    }

    #[test]
    fn white_space_around_a_text_makes_it_neither_longer_nor_fit() {
        let read = |text: &str| {
            let mut errors = FieldErrors::default();
            let kept = trimmed(&mut errors, "reason", text, 3..=5);
            errors.finish().map(|()| kept)
        };
        assert_eq!(read(" abc "), Ok("abc".to_owned()));
        assert_eq!(read("ééééé"), Ok("ééééé".to_owned()), "characters, not bytes");
        for bad in ["ab", "ab   ", "abcdef", "\tabcde", "     "] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn amounts_are_read_from_their_text() {
        for text in ["0.05", "\"0.05\"", " 5e-2", "0.050000"] {
            assert_eq!(units(text), Ok(Units(50_000)), "{text}");
        }
        assert_eq!(units("9007199254.740993"), Ok(Units(9_007_199_254_740_993)), "beyond a double");
        assert_eq!(units("0.0000001"), Err(AmountError::TooPrecise(Currency::Usdt)));
        for bad in ["true", "\"\"", "[1]", "{}"] {
            assert_eq!(units(bad), Err(AmountError::NotANumber), "{bad}");
        }
        let absent: Body = parse(br#"{"amount": null}"#).unwrap();
        assert!(absent.amount.is_none());
    }

    #[test]
    fn hardware_from_a_person_is_read_strictly() {
        let field = |hardware: &str| {
            let error = parse::<Body>(format!("{{\"hardware_info\": {hardware}}}").as_bytes()).unwrap_err();
            error.fields[0].field.clone()
        };
        let rest = r#""memory":{"total_bytes":1},"storage":{"total_bytes":1}"#;
        assert_eq!(field(&format!(r#"{{"cpu":{{"cores":1,"turbo":true}},{rest}}}"#)), "hardware_info.cpu.turbo");
        assert_eq!(field(&format!(r#"{{"cpu":{{}},{rest}}}"#)), "hardware_info.cpu.cores");
        assert_eq!(field(&format!(r#"{{"cpu":{{"cores":"x"}},{rest}}}"#)), "hardware_info.cpu.cores");
        assert_eq!(field("7"), "hardware_info");
        assert_eq!(field(&format!(r#"{{"cpu":{{"cores":1,"cores":2}},{rest}}}"#)), "hardware_info.cpu.cores");
        assert_eq!(field(&format!(r#"{{"cpu":{{"cores":1}},"cpu":{{"cores":1}},{rest}}}"#)), "hardware_info.cpu");
        let interfaces = r#"[{"interface":"a"},{"interface":"b","interface":"b"}]"#;
        assert_eq!(field(&format!(r#"{{"cpu":{{"cores":1}},{rest},"network":{interfaces}}}"#)), "hardware_info.network[1].interface");
        let halves = format!(r#"{{"hardware_info":{{"cpu":{{"cores":4.5}},{rest}}}}}"#);
        assert_eq!(parse::<Body>(halves.as_bytes()).unwrap_err().fields[0].message, "must be a whole number");
        let fine = format!(r#"{{"cpu":{{"cores":4}},{rest},"network":[{{"interface":"eth0","speed_mbps":1000}}]}}"#);
        let body: Body = parse(format!("{{\"hardware_info\": {fine}}}").as_bytes()).unwrap();
        assert_eq!(body.hardware_info.unwrap().0.cpu.cores, 4);
    }
}

//! Makes values of whatever can be serialised, but for maps.

use std::fmt;

use serde::ser::{
    Error, Impossible, Serialize, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use super::{Fields, NotPlain, Value};

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotPlain {}

impl Error for NotPlain {
    fn custom<T: fmt::Display>(why: T) -> NotPlain {
        NotPlain(why.to_string())
    }
}

pub(super) struct Plain;

/// Values one after the other; the name is that of an enum's variant.
pub(super) struct Row(Option<&'static str>, Vec<Value>);

/// Fields; the name is that of an enum's variant.
pub(super) struct Named(Option<&'static str>, Fields);

fn within(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::Fields(vec![(variant, value)]),
        None => value,
    }
}

impl Serializer for Plain {
    type Ok = Value;
    type Error = NotPlain;
    type SerializeSeq = Row;
    type SerializeTuple = Row;
    type SerializeTupleStruct = Row;
    type SerializeTupleVariant = Row;
    type SerializeMap = Impossible<Value, NotPlain>;
    type SerializeStruct = Named;
    type SerializeStructVariant = Named;

    fn serialize_bool(self, v: bool) -> Result<Value, NotPlain> {
        Ok(v.into())
    }
    fn serialize_i8(self, v: i8) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v))
    }
    fn serialize_u8(self, v: u8) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Result<Value, NotPlain> {
        Ok(Value::Whole(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Result<Value, NotPlain> {
        Ok(v.into())
    }
    fn serialize_u64(self, v: u64) -> Result<Value, NotPlain> {
        Ok(v.into())
    }
    fn serialize_f32(self, v: f32) -> Result<Value, NotPlain> {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Result<Value, NotPlain> {
        Ok(v.into())
    }
    fn serialize_char(self, v: char) -> Result<Value, NotPlain> {
        Ok(v.to_string().into())
    }
    fn serialize_str(self, v: &str) -> Result<Value, NotPlain> {
        Ok(v.into())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Value, NotPlain> {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn serialize_none(self) -> Result<Value, NotPlain> {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, NotPlain> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, NotPlain> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, NotPlain> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, NotPlain> {
        Ok(variant.into())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, NotPlain> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, NotPlain> {
        Ok(within(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Row, NotPlain> {
        Ok(Row(None, Vec::new()))
    }
    fn serialize_tuple(self, _: usize) -> Result<Row, NotPlain> {
        Ok(Row(None, Vec::new()))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Row, NotPlain> {
        Ok(Row(None, Vec::new()))
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Row, NotPlain> {
        Ok(Row(Some(variant), Vec::new()))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotPlain> {
        Err(NotPlain("the keys of a map would become names of fields".into()))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Named, NotPlain> {
        Ok(Named(None, Vec::new()))
    }
    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Named, NotPlain> {
        Ok(Named(Some(variant), Vec::new()))
    }
}

macro_rules! rows {
    ($($of:ident $element:ident),+) => {
        $(impl $of for Row {
            type Ok = Value;
            type Error = NotPlain;
            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotPlain> {
                self.1.push(value.serialize(Plain)?);
                Ok(())
            }
            fn end(self) -> Result<Value, NotPlain> {
                Ok(within(self.0, Value::List(self.1)))
            }
        })+
    };
}

rows!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

impl SerializeStruct for Named {
    type Ok = Value;
    type Error = NotPlain;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotPlain> {
        self.1.push((name, value.serialize(Plain)?));
        Ok(())
    }
    fn end(self) -> Result<Value, NotPlain> {
        Ok(within(self.0, Value::Fields(self.1)))
    }
}

impl SerializeStructVariant for Named {
    type Ok = Value;
    type Error = NotPlain;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotPlain> {
        SerializeStruct::serialize_field(self, name, value)
    }
    fn end(self) -> Result<Value, NotPlain> {
        SerializeStruct::end(self)
    }
}

//! Makes values of any type that serde can read, and tells which variants of enums a value says.
//!
//! With both a test can be sure that it has seen every variant of a protocol, also one that was added since.

use std::collections::BTreeSet;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, Expected, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserializer, Serialize, Serializer, ser};

/// An enum's variant, as `Health::Down`.
pub type Variant = (&'static str, &'static str);

/// Deeper than this nothing is optional any more and lists are empty, so that recursive types come to an end.
const DEEP: usize = 20;
const TRIES: usize = 100;
/// Few, so that facts are about the same things.
const WORDS: [&str; 6] = ["web-1/api", "web-1/db", "alice", "nightly", "two\nlines \u{1b}[31m", "größe"];

/// Makes values.
pub struct Sampler {
    random: fastrand::Rng,
    depth: usize,
    /// Variants of every enum that was met.
    pub known: BTreeSet<Variant>,
    /// Variants that are not preferred: there are values with them.
    pub made: BTreeSet<Variant>,
}

impl Sampler {
    /// Equal seeds make equal values.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), depth: 0, known: BTreeSet::new(), made: BTreeSet::new() }
    }

    /// Makes a value. Some types have rules of their own, so that it takes a few tries.
    pub fn make<T: DeserializeOwned>(&mut self) -> T {
        let mut made = Err(Error::custom("not tried"));
        for _ in 0..TRIES {
            self.depth = 0;
            made = T::deserialize(&mut *self);
            if made.is_ok() {
                break;
            }
        }
        made.unwrap_or_else(|error| panic!("{}: {error}", std::any::type_name::<T>()))
    }

    fn pick(&mut self, name: &'static str, variants: &'static [&'static str]) -> Result<&'static str, Error> {
        self.known.extend(variants.iter().map(|it| (name, *it)));
        let new: Vec<_> = variants.iter().filter(|it| !self.made.contains(&(name, **it))).collect();
        match self.random.choice(new) {
            Some(variant) if self.random.bool() => Ok(*variant),
            _ => self.random.choice(variants).copied().ok_or_else(|| Error::custom("no variants")),
        }
    }

    fn number(&mut self) -> u8 {
        // Not zero: some numbers may not be.
        self.random.u8(1..=100)
    }

    /// As a plugin prints one. With more than fifteen digits the last may become another on the way.
    fn float(&mut self) -> f64 {
        f64::from(self.random.i32(-1_000_000..1_000_000)) / 1_000.0
    }

    fn text(&mut self, expected: &str) -> String {
        let second = self.random.u8(0..60);
        match expected {
            it if it.contains("timestamp") => format!("2026-08-19T14:43:{second:02}.{:03}Z", self.random.u16(0..1_000)),
            it if it.contains("zoned") => "2026-03-02T09:00:00+00:00[UTC]".into(),
            it if it.contains("datetime") => "2026-03-02T09:00:00".into(),
            it if it.contains("date string") => "2026-03-02".into(),
            it if it.contains("time string") => "09:00:00".into(),
            it if it.contains("duration") => format!("PT{second}.5S"),
            it if it.contains("UUID") => format!("01989d2e-7b1c-7000-8000-0000000000{second:02}"),
            _ => WORDS[self.random.usize(..WORDS.len())].to_string(),
        }
    }

    fn count(&mut self) -> usize {
        if self.depth > DEEP { 0 } else { self.random.usize(0..=2) }
    }

    fn seq<'de, V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value, Error> {
        self.depth += 1;
        let made = visitor.visit_seq(Some_ { sampler: self, left });
        self.depth -= 1;
        made
    }
}

/// So many values.
struct Some_<'a> {
    sampler: &'a mut Sampler,
    left: usize,
}

impl<'de> SeqAccess<'de> for Some_<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.sampler).map(Some)
    }
}

impl<'de> MapAccess<'de> for Some_<'_> {
    type Error = Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut *self.sampler)
    }
}

/// One variant.
struct One<'a> {
    sampler: &'a mut Sampler,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for One<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for One<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.sampler)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.sampler.seq(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.sampler.seq(fields.len(), visitor)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number().into())
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.text(&(&visitor as &dyn Expected).to_string());
            visitor.visit_string(text)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Sampler {
    type Error = Error;

    numbers! {
        deserialize_u8 visit_u8;
        deserialize_u16 visit_u16;
        deserialize_u32 visit_u32;
        deserialize_u64 visit_u64;
        deserialize_i16 visit_i16;
        deserialize_i32 visit_i32;
        deserialize_i64 visit_i64;
        deserialize_char visit_char;
    }
    texts! { deserialize_any deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i8(-1)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.random.bool())
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f32(self.random.f32())
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bytes(&[1, 2, 3])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.depth > DEEP || self.random.u8(0..3) == 0 { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let count = self.count();
        self.seq(count, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.seq(len, visitor)
    }

    fn deserialize_tuple_struct<V>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value, Error>
    where
        V: Visitor<'de>,
    {
        self.seq(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.depth += 1;
        let left = self.count();
        let made = visitor.visit_map(Some_ { sampler: &mut *self, left });
        self.depth -= 1;
        made
    }

    fn deserialize_struct<V>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error>
    where
        V: Visitor<'de>,
    {
        self.seq(fields.len(), visitor)
    }

    fn deserialize_enum<V>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error>
    where
        V: Visitor<'de>,
    {
        let picked = self.pick(name, variants)?;
        self.depth += 1;
        let made = visitor.visit_enum(One { sampler: &mut *self, name: picked });
        self.depth -= 1;
        made
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// The variants that a value says.
pub fn said<T: Serialize>(value: &T) -> BTreeSet<Variant> {
    let mut said = Said(BTreeSet::new());
    value.serialize(&mut said).expect("it only looks");
    said.0
}

struct Said(BTreeSet<Variant>);

macro_rules! leaves {
    ($($method:ident $type:ty;)*) => {$(
        fn $method(self, _: $type) -> Result<(), Error> {
            Ok(())
        }
    )*};
}

impl<'a> Serializer for &'a mut Said {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = &'a mut Said;
    type SerializeTuple = &'a mut Said;
    type SerializeTupleStruct = &'a mut Said;
    type SerializeTupleVariant = &'a mut Said;
    type SerializeMap = &'a mut Said;
    type SerializeStruct = &'a mut Said;
    type SerializeStructVariant = &'a mut Said;

    leaves! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_f32 f32;
        serialize_f64 f64;
        serialize_char char;
        serialize_str &str;
        serialize_bytes &[u8];
        serialize_unit_struct &'static str;
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.0.insert((name, variant));
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.insert((name, variant));
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.0.insert((name, variant));
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.0.insert((name, variant));
        Ok(self)
    }
}

macro_rules! lists {
    ($($trait:ident $method:ident;)*) => {$(
        impl ser::$trait for &mut Said {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

lists! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl ser::$trait for &mut Said {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Error> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for &mut Said {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

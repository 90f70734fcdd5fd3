//! JSON files of a model folder: read whole, duplicate keys refused, fields with types. Knows no key.
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    marker::PhantomData,
    path::Path,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The largest real one, the shard index of a model of 671 billion weights, is under 10 MiB.
const MOST_BYTES: u64 = 16 << 20;

/// Reads a small file, or `None` if there is none.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    let io = |error: std::io::Error| Error::Io { path: path.to_owned(), reason: error.to_string() };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
        Ok(metadata) if !metadata.is_file() => Err(io(std::io::Error::other("not a regular file"))),
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            let reason = format!("expected at most {MOST_BYTES} bytes, found {}", metadata.len());
            Err(Error::Format { path: path.to_owned(), reason })
        }
        Ok(_) => std::fs::read(path).map(Some).map_err(io),
    }
}

/// Parses JSON of any shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Format { path: path.to_owned(), reason: error.to_string() })
}

/// A JSON object in which a key that appears twice is an error: readers that disagree on which one counts can be played off
/// against each other.
pub(super) struct UniqueMap<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

struct UniqueVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<UniqueMap<V>, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            match entries.entry(key) {
                Entry::Occupied(twice) => {
                    return Err(serde::de::Error::custom(format!("`{}` appears twice", twice.key())));
                }
                Entry::Vacant(place) => {
                    place.insert(access.next_value()?);
                }
            }
        }
        Ok(UniqueMap(entries))
    }
}

/// The fields of an object. `null` counts as absent, another type than asked for is an error that names the field.
pub(super) struct Object<'a> {
    pub path: &'a Path,
    /// Where the object is: empty or `rope_scaling.`
    pub prefix: &'a str,
    pub fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// A format error at this file.
    pub fn fault(&self, reason: String) -> Error {
        Error::Format { path: self.path.to_owned(), reason }
    }

    /// Refuses a field whose value is legal but not something that this engine runs.
    pub fn unsupported(&self, key: &str, found: impl fmt::Display) -> Error {
        Error::Model(format!(
            "{}: `{}{key}` is {found}, which this engine does not run",
            self.path.display(),
            self.prefix
        ))
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn field<T>(&self, key: &str, wanted: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value)
            .map(Some)
            .ok_or_else(|| self.fault(format!("`{}{key}`: expected {wanted}, found {}", self.prefix, describe(value))))
    }

    pub fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.field(key, "a whole number of 0 or more", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub fn float(&self, key: &str) -> Result<Option<f32>> {
        self.field(key, "a number", |value| value.as_f64().map(|number| number as f32))
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.field(key, "true or false", Value::as_bool)
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.field(key, "a text", Value::as_str)
    }

    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.field(key, "an object", Value::as_object)
    }

    /// The value of a field that must be there.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.fault(format!("`{}{key}` is missing", self.prefix)))
    }
}

/// A value as an error should show it: whole if short.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        Value::String(text) if text.chars().count() > 40 => format!("a text of {} bytes", text.len()),
        short => short.to_string(),
    }
}

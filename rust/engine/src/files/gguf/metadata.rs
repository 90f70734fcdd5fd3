//! Typed access to GGUF metadata: absent is fine, of another type is an error that names the key.
use super::{
    GgufFile, Value, ValueKind,
    cursor::{ArraySpan, Cursor},
    header::describe,
};
use crate::{Error, Result};

impl GgufFile {
    /// A format error at this file.
    pub(super) fn fault(&self, reason: String) -> Error {
        Error::Format { path: self.path.clone(), reason }
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> Error {
        self.fault(format!("`{key}`: expected {wanted}, found {}", describe(found)))
    }

    /// The value of a key that must be there.
    pub(in crate::files) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.fault(format!("`{key}` is missing")))
    }

    pub(in crate::files) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.header.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a text", other)),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.header.get(key) {
            None => Ok(None),
            Some(&Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(key, "a truth value", other)),
        }
    }

    /// A non-negative integer of any width.
    pub(super) fn integer(&self, key: &str) -> Result<Option<usize>> {
        let number = match self.header.get(key) {
            None => return Ok(None),
            Some(&Value::Unsigned(number)) => usize::try_from(number).ok(),
            Some(&Value::Signed(number)) => usize::try_from(number).ok(),
            Some(_) => None,
        };
        match (number, self.header.get(key)) {
            (None, Some(found)) => Err(self.wrong(key, "a whole number of 0 or more", found)),
            (number, _) => Ok(number),
        }
    }

    pub(in crate::files) fn float(&self, key: &str) -> Result<Option<f32>> {
        match self.header.get(key) {
            None => Ok(None),
            Some(&Value::Float(number)) => Ok(Some(number as f32)),
            Some(other) => Err(self.wrong(key, "a float", other)),
        }
    }

    /// Reads an array whose elements have one of `kinds`.
    fn elements<'a, T>(
        &'a self,
        key: &str,
        kinds: &[ValueKind],
        read: impl Fn(&mut Cursor<'a>, ValueKind) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let span: &ArraySpan = match self.header.get(key) {
            None => return Ok(None),
            Some(Value::Array(span)) if kinds.contains(&span.kind) => span,
            Some(other) => return Err(self.wrong(key, &format!("an array of {:?}", kinds[0]), other)),
        };
        let mut cursor = Cursor { path: &self.path, bytes: &self.bytes[..span.bytes.end], at: span.bytes.start };
        (0..span.count).map(|_| read(&mut cursor, span.kind)).collect::<Result<Vec<T>>>().map(Some)
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.elements(key, &[ValueKind::Text], |cursor, _| cursor.text(&format!("`{key}`")).map(str::to_owned))
    }

    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.elements(key, &[ValueKind::F32], |cursor, _| cursor.u32(key).map(f32::from_bits))
    }

    /// Numbers of 0 or more, such as token ids.
    pub(in crate::files) fn unsigned(&self, key: &str) -> Result<Option<Vec<u64>>> {
        self.elements(key, &[ValueKind::U32, ValueKind::I32], |cursor, kind| {
            let bits = cursor.u32(key)?;
            match kind == ValueKind::I32 && (bits as i32) < 0 {
                true => Err(self.fault(format!("`{key}`: expected numbers of 0 or more, found {}", bits as i32))),
                false => Ok(bits.into()),
            }
        })
    }

    pub(super) fn signed(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.elements(key, &[ValueKind::I32, ValueKind::U32], |cursor, _| cursor.u32(key).map(|bits| bits as i32))
    }
}

//! Reads GGUF's primitive values in order, never past the end. Knows no key.
use std::{ops::Range, path::Path};

use crate::{Error, Result};

/// Arrays may hold arrays; no real file goes deeper than two.
const MAX_DEPTH: usize = 4;

/// Type of a metadata value, with the numbers of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// 0
    U8,
    /// 1
    I8,
    /// 2
    U16,
    /// 3
    I16,
    /// 4
    U32,
    /// 5
    I32,
    /// 6
    F32,
    /// 7
    Bool,
    /// 8
    Text,
    /// 9
    Array,
    /// 10
    U64,
    /// 11
    I64,
    /// 12
    F64,
}

impl ValueKind {
    fn from_code(code: u32) -> Option<ValueKind> {
        use ValueKind::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64].get(code as usize).copied()
    }

    /// Bytes of a value, or the fewest that one can take.
    fn least_bytes(self) -> usize {
        use ValueKind::*;
        match self {
            U8 | I8 | Bool => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | Text => 8,
            Array => 12,
        }
    }
}

/// A metadata value. Integers and floats are widened; arrays stay in the file until somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// Either float type.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array: its bounds are checked, its elements not yet read.
    Array(ArraySpan),
}

/// Where an array lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArraySpan {
    /// Type of the elements.
    pub kind: ValueKind,
    /// Number of elements.
    pub count: usize,
    pub(super) bytes: Range<usize>,
}

/// A position in the bytes of a file.
pub(super) struct Cursor<'a> {
    pub path: &'a Path,
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    /// A format error at this file.
    pub fn fault(&self, reason: String) -> Error {
        Error::Format { path: self.path.to_owned(), reason }
    }

    pub fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => {
                let (at, left) = (self.at, rest.len());
                Err(self.fault(format!("{what} needs {count} bytes at {at}, but the file ends after {left}")))
            }
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub fn text(&mut self, what: &str) -> Result<&'a str> {
        let length = self.u64(what)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|error| self.fault(format!("{what} is not UTF-8: {error}")))
    }

    /// A count of things that take at least `least` bytes each: refused before anything is allocated for them.
    pub fn count(&mut self, least: usize, what: &str) -> Result<usize> {
        let count = self.u64(what)?;
        let room = (self.bytes.len() - self.at) / least;
        usize::try_from(count).ok().filter(|&count| count <= room).ok_or_else(|| {
            self.fault(format!("{what} is {count}, but the rest of the file has room for {room} at most"))
        })
    }

    pub fn kind(&mut self, key: &str) -> Result<ValueKind> {
        let code = self.u32(key)?;
        ValueKind::from_code(code)
            .ok_or_else(|| self.fault(format!("`{key}`: expected a value type 0..12, found {code}")))
    }

    pub fn value(&mut self, kind: ValueKind, key: &str) -> Result<Value> {
        use ValueKind::*;
        Ok(match kind {
            U8 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            U16 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            U32 => Value::Unsigned(self.u32(key)?.into()),
            U64 => Value::Unsigned(self.u64(key)?),
            I8 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            I16 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            I32 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            I64 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            F32 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            F64 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            Bool => Value::Bool(self.bool(key)?),
            Text => Value::Text(self.text(key)?.to_owned()),
            Array => Value::Array(self.span(key, 1)?),
        })
    }

    fn bool(&mut self, key: &str) -> Result<bool> {
        match self.array(key)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.fault(format!("`{key}`: expected a truth value 0 or 1, found {other}"))),
        }
    }

    /// Steps over an array, checking that all of it is there.
    fn span(&mut self, key: &str, depth: usize) -> Result<ArraySpan> {
        if depth > MAX_DEPTH {
            return Err(self.fault(format!("`{key}`: arrays nested more than {MAX_DEPTH} deep")));
        }
        let kind = self.kind(key)?;
        let count = self.count(kind.least_bytes(), &format!("`{key}`: number of elements"))?;
        let start = self.at;
        match kind {
            ValueKind::Text => {
                for _ in 0..count {
                    let length = self.u64(key)?;
                    self.take(length, key)?;
                }
            }
            ValueKind::Array => {
                for _ in 0..count {
                    self.span(key, depth + 1)?;
                }
            }
            // `count` made sure that the product fits the file.
            _ => {
                self.take((count * kind.least_bytes()) as u64, key)?;
            }
        }
        Ok(ArraySpan { kind, count, bytes: start..self.at })
    }
}

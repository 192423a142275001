//! Iceberg's types from text: `long`, `decimal(10,2) required`, `list<struct<a: long, b: string required>>`.
//!
//! The names are the specification's. Arrow types come out, with the field names that Iceberg's Rust crate uses.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::convert::{UTC, list_of, map_of};

/// Types within types; more is a mistake.
const DEEPEST: usize = 32;

const KNOWN: &str = "boolean, int, long, float, double, decimal(p,s), date, time, timestamp, timestamptz, string, uuid, binary, fixed(n), list<…>, map<string,…> or struct<name: …>";

/// The column `name` of the type in `text`; optional unless `required` stands behind the type.
pub(super) fn column(name: &str, text: &str) -> Result<Field, String> {
    let mut parser = Parser { text, at: 0 };
    let field = parser.field(name, 0)?;
    parser.space();
    match parser.rest() {
        "" => Ok(field),
        rest => Err(format!("'{text}': expected the end or 'required' behind the type, found '{rest}'")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The next word, possibly empty.
    fn word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) { Ok(()) } else { Err(self.error(&format!("expected '{wanted}'"))) }
    }

    fn error(&self, expected: &str) -> String {
        match self.rest() {
            "" => format!("'{}': {expected}, found the end", self.text),
            rest => format!("'{}': {expected}, found '{rest}'", self.text),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        self.space();
        let before = self.at;
        self.word().parse().map_err(|_| {
            self.at = before;
            self.error("expected a number")
        })
    }

    fn field(&mut self, name: &str, depth: usize) -> Result<Field, String> {
        let uuid = {
            self.space();
            let rest = self.rest();
            rest.strip_prefix("uuid").is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let data_type = self.data_type(depth)?;
        let before = self.at;
        let required = self.word() == "required";
        if !required {
            self.at = before;
        }
        let field = Field::new(name, data_type, !required);
        Ok(if uuid {
            field.with_metadata(HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]))
        } else {
            field
        })
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, String> {
        if depth > DEEPEST {
            return Err(format!("the type has more than {DEEPEST} levels"));
        }
        self.space();
        let before = self.at;
        Ok(match self.word() {
            "boolean" => DataType::Boolean,
            "int" => DataType::Int32,
            "long" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            "date" => DataType::Date32,
            "time" => DataType::Time64(TimeUnit::Microsecond),
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            "string" => DataType::Utf8,
            "uuid" => DataType::FixedSizeBinary(16),
            "binary" => DataType::Binary,
            "fixed" => {
                let size = self.bracketed(|parser| parser.number::<i32>())?;
                if size < 1 {
                    return Err(format!("'{}': expected a length of at least 1, found {size}", self.text));
                }
                DataType::FixedSizeBinary(size)
            }
            "decimal" => {
                let (precision, scale) = self.bracketed(|parser| {
                    let precision = parser.number::<u8>()?;
                    parser.expect(',')?;
                    Ok((precision, parser.number::<u8>()?))
                })?;
                if !(1..=38).contains(&precision) || scale > precision {
                    return Err(format!(
                        "'{}': expected a precision from 1 to 38 and a scale up to it, found {precision} and {scale}",
                        self.text
                    ));
                }
                DataType::Decimal128(precision, scale as i8)
            }
            "list" => {
                self.expect('<')?;
                let element = self.field("element", depth + 1)?;
                self.expect('>')?;
                list_of(element)
            }
            "map" => {
                self.expect('<')?;
                let key = self.data_type(depth + 1)?;
                if key != DataType::Utf8 {
                    return Err(format!(
                        "'{}': expected string for a map's keys, which is all that JSON has",
                        self.text
                    ));
                }
                self.expect(',')?;
                let value = self.field("value", depth + 1)?;
                self.expect('>')?;
                map_of(Field::new("key", key, false), value)
            }
            "struct" => self.fields(depth)?,
            _ => {
                self.at = before;
                return Err(self.error(&format!("expected {KNOWN}")));
            }
        })
    }

    fn bracketed<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.expect('(')?;
        let value = inner(self)?;
        self.expect(')')?;
        Ok(value)
    }

    fn fields(&mut self, depth: usize) -> Result<DataType, String> {
        self.expect('<')?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() {
                return Err(self.error("expected a field's name"));
            }
            if fields.iter().any(|field| field.name() == name) {
                return Err(format!("'{}': the struct has two fields '{name}'", self.text));
            }
            self.expect(':')?;
            fields.push(self.field(name, depth + 1)?);
            if !self.eat(',') {
                self.expect('>')?;
                return Ok(DataType::Struct(fields.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_with_spaces_or_without() {
        let cases = [
            ("boolean", DataType::Boolean),
            ("int", DataType::Int32),
            (" long ", DataType::Int64),
            ("float", DataType::Float32),
            ("double", DataType::Float64),
            ("decimal( 10 , 2 )", DataType::Decimal128(10, 2)),
            ("date", DataType::Date32),
            ("time", DataType::Time64(TimeUnit::Microsecond)),
            ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("timestamptz", DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))),
            ("string", DataType::Utf8),
            ("uuid", DataType::FixedSizeBinary(16)),
            ("binary", DataType::Binary),
            ("fixed(3)", DataType::FixedSizeBinary(3)),
            ("list<long required>", list_of(Field::new("element", DataType::Int64, false))),
            (
                "map<string, int>",
                map_of(Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)),
            ),
        ];
        for (text, expected) in cases {
            let field = column("c", text).unwrap();
            assert_eq!((field.data_type(), field.is_nullable()), (&expected, true), "{text}");
            assert!(!column("c", &format!("{text} required")).unwrap().is_nullable(), "{text}");
        }
        let nested = column("c", "struct<a: list<map<string,struct<b:decimal(3,1) required>>>, d: uuid>").unwrap();
        assert_eq!(nested.data_type().to_string().matches("Decimal128(3, 1)").count(), 1);
    }

    #[test]
    fn mistakes_say_what_was_expected_and_found() {
        for (text, part) in [
            ("strnig", "expected boolean, int"),
            ("", "found the end"),
            ("long requird", "found 'requird'"),
            ("decimal(39,2)", "from 1 to 38"),
            ("decimal(10)", "expected ','"),
            ("decimal(a,b)", "expected a number, found 'a,b)'"),
            ("fixed(0)", "at least 1"),
            ("list<long", "expected '>', found the end"),
            ("map<long,long>", "expected string for a map's keys"),
            ("struct<>", "expected a field's name, found '>'"),
            ("struct<a: long, a: int>", "two fields 'a'"),
            ("struct<a long>", "expected ':', found 'long>'"),
        ] {
            let error = column("c", text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(column("c", &"list<".repeat(1000)).unwrap_err().contains("levels"));
    }
}

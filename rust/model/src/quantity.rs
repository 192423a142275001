//! Sizes, intervals and limits, written as people write them: `1GiB`, `500ms`, `1%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, ErrorKind, Result};

fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

/// A number of bytes: `512MiB`, `1GiB`, `1.5GB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(count: u64) -> Self {
        ByteSize(count << 20)
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unit = |suffix: &str| -> Option<f64> {
            Some(match suffix.to_ascii_lowercase().as_str() {
                "" | "b" => 1.0,
                "kb" => 1e3,
                "mb" => 1e6,
                "gb" => 1e9,
                "tb" => 1e12,
                "kib" => 1024.0,
                "mib" => 1024.0 * 1024.0,
                "gib" => 1024.0 * 1024.0 * 1024.0,
                "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
                _ => return None,
            })
        };
        split_number(text)
            .and_then(|(number, suffix)| Some(ByteSize((number * unit(suffix)?) as u64)))
            .filter(|size| size.0 > 0)
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("expected a size such as '512MiB' or '1GB', found {text:?}"))
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A length of time: `500ms`, `1s`, `5m`, `1h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unit = |suffix: &str| -> Option<f64> {
            Some(match suffix {
                "ms" => 0.001,
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            })
        };
        split_number(text)
            .and_then(|(number, suffix)| Duration::try_from_secs_f64(number * unit(suffix)?).ok())
            .filter(|duration| !duration.is_zero())
            .map(Interval)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Config,
                    format!("expected an interval such as '500ms', '1s' or '5m', found {text:?}"),
                )
            })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (length, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if ms >= length && ms.is_multiple_of(length) {
                return write!(f, "{}{unit}", ms / length);
            }
        }
        write!(f, "{ms}ms")
    }
}

/// How many bad records a job bears: a share of all (`1%`, `0.01`) or a count (`100`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxBad {
    /// A share of the records read, from 0 to 1, judged once 1,000 records were read and at the end.
    Share(f64),
    /// A number of records since the job started.
    Count(u64),
}

impl MaxBad {
    /// Whether so many bad records of so many are too many.
    pub fn exceeded(self, bad: u64, records: u64) -> bool {
        match self {
            MaxBad::Share(share) => bad as f64 > share * records as f64,
            MaxBad::Count(count) => bad > count,
        }
    }
}

impl FromStr for MaxBad {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match split_number(text) {
            Some((number, "%")) if number <= 100.0 => Some(MaxBad::Share(number / 100.0)),
            Some((number, "")) if number < 1.0 && text.contains('.') => Some(MaxBad::Share(number)),
            Some((number, "")) if number.fract() == 0.0 && !text.contains('.') => Some(MaxBad::Count(number as u64)),
            _ => None,
        };
        parsed.ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("expected a share such as '1%' or 0.01, or a whole number of records, found {text}"),
            )
        })
    }
}

impl fmt::Display for MaxBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxBad::Share(share) => write!(f, "{}%", share * 100.0),
            MaxBad::Count(count) => write!(f, "{count}"),
        }
    }
}

/// Reads a quantity from a string or a number, writes it as a string.
macro_rules! as_text {
    ($type:ty, $name:literal, $expects:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged, expecting = $expects)]
                enum Written {
                    Text(String),
                    Number(serde_json::Number),
                }
                let text = match Written::deserialize(deserializer)? {
                    Written::Text(text) => text,
                    Written::Number(number) => number.to_string(),
                };
                text.parse().map_err(|error: Error| de::Error::custom(error.message()))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "description": $expects })
            }
        }
    };
}

as_text!(ByteSize, "ByteSize", "expected a size such as '512MiB' or a number of bytes");
as_text!(Interval, "Interval", "expected an interval such as '500ms', '1s' or '5m'");
as_text!(MaxBad, "MaxBad", "expected a share such as '1%' or 0.01, or a whole number of records");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_write_the_common_forms() {
        assert_eq!("512MiB".parse::<ByteSize>().unwrap(), ByteSize::mib(512));
        assert_eq!("1.5 GB".parse::<ByteSize>().unwrap(), ByteSize(1_500_000_000));
        assert_eq!(ByteSize::mib(1024).to_string(), "1GiB");
        assert_eq!("500ms".parse::<Interval>().unwrap().0, Duration::from_millis(500));
        assert_eq!(Interval(Duration::from_secs(120)).to_string(), "2m");
        assert_eq!("1%".parse::<MaxBad>().unwrap(), MaxBad::Share(0.01));
        assert_eq!("0.01".parse::<MaxBad>().unwrap(), MaxBad::Share(0.01));
        assert_eq!("100".parse::<MaxBad>().unwrap(), MaxBad::Count(100));
        for text in ["", "GiB", "-1GiB", "1 parsec", "0"] {
            assert_eq!(text.parse::<ByteSize>().unwrap_err().kind(), ErrorKind::Config, "{text}");
            assert_eq!(text.parse::<Interval>().unwrap_err().kind(), ErrorKind::Config, "{text}");
        }
        assert!("200%".parse::<MaxBad>().is_err());
    }

    #[test]
    fn numbers_are_read_too() {
        assert_eq!(serde_json::from_str::<ByteSize>("1024").unwrap(), ByteSize(1024));
        assert_eq!(serde_json::from_str::<MaxBad>("0.5").unwrap(), MaxBad::Share(0.5));
        assert!(serde_json::from_str::<Interval>("[1]").unwrap_err().to_string().contains("expected an interval"));
    }
}

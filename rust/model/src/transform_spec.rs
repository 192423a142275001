//! Partition transforms and sort orders, written as Iceberg writes them: `day(ts)`, `bucket(16, user_id)`, `price desc`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, ErrorKind, Result};

/// One of Iceberg's partition transforms (specification, "Partition Transforms").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionTransform {
    /// The value itself.
    Identity,
    /// Hash into so many buckets.
    Bucket(u32),
    /// The value cut to this width.
    Truncate(u32),
    /// Years since 1970.
    Year,
    /// Months since 1970-01.
    Month,
    /// Days since 1970-01-01.
    Day,
    /// Hours since 1970-01-01T00.
    Hour,
    /// Always null.
    Void,
}

const NAMES: [&str; 8] = ["identity", "bucket", "truncate", "year", "month", "day", "hour", "void"];

impl PartitionTransform {
    fn parse(name: &str, width: Option<u32>) -> Result<Self> {
        let found = match (name.to_ascii_lowercase().as_str(), width) {
            ("identity", None) => PartitionTransform::Identity,
            ("bucket", Some(width)) => PartitionTransform::Bucket(width),
            ("truncate", Some(width)) => PartitionTransform::Truncate(width),
            ("year" | "years", None) => PartitionTransform::Year,
            ("month" | "months", None) => PartitionTransform::Month,
            ("day" | "days" | "date", None) => PartitionTransform::Day,
            ("hour" | "hours", None) => PartitionTransform::Hour,
            ("void", None) => PartitionTransform::Void,
            ("bucket" | "truncate", None) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("{name} needs a number, as in '{name}(16, column)'"),
                ));
            }
            (lower, Some(_)) if NAMES.contains(&lower) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("{name} takes no number, only a column: '{name}(column)'"),
                ));
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("unknown transform '{name}'{}", crate::job::did_you_mean(name, &NAMES)),
                ));
            }
        };
        match found {
            PartitionTransform::Bucket(0) | PartitionTransform::Truncate(0) => {
                Err(Error::new(ErrorKind::Config, format!("{name} needs a number above 0")))
            }
            found => Ok(found),
        }
    }
}

/// A column name as it may stand in a partition or sort field: dots reach into structs.
fn column(text: &str) -> Result<String> {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if bare.is_empty() || bare.contains(['(', ')', ',']) {
        return Err(Error::new(ErrorKind::Config, format!("expected a column name, found {text:?}")));
    }
    Ok(bare.to_owned())
}

/// One partition field: a transform of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBy {
    /// The transform.
    pub transform: PartitionTransform,
    /// The source column; dots reach into structs.
    pub column: String,
}

impl PartitionBy {
    /// The field's name in the partition spec, as Iceberg's Java and Spark name it: `ts_day`, `user_id_bucket`, `country`.
    pub fn field_name(&self) -> String {
        let base = &self.column;
        match self.transform {
            PartitionTransform::Identity => base.clone(),
            PartitionTransform::Bucket(_) => format!("{base}_bucket"),
            PartitionTransform::Truncate(_) => format!("{base}_trunc"),
            PartitionTransform::Year => format!("{base}_year"),
            PartitionTransform::Month => format!("{base}_month"),
            PartitionTransform::Day => format!("{base}_day"),
            PartitionTransform::Hour => format!("{base}_hour"),
            PartitionTransform::Void => format!("{base}_null"),
        }
    }
}

impl FromStr for PartitionBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            return Ok(PartitionBy { transform: PartitionTransform::Identity, column: column(text)? });
        };
        let inner = rest
            .strip_suffix(')')
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("expected 'transform(column)', found {text:?}")))?;
        let (width, source) = match inner.rsplit_once(',') {
            None => (None, inner),
            Some((a, b)) => {
                let (number, source) = if a.trim().chars().all(|c| c.is_ascii_digit()) { (a, b) } else { (b, a) };
                let width = number.trim().parse().map_err(|_| {
                    Error::new(
                        ErrorKind::Config,
                        format!("expected a number and a column, as in 'bucket(16, user_id)', found {text:?}"),
                    )
                })?;
                (Some(width), source)
            }
        };
        Ok(PartitionBy { transform: PartitionTransform::parse(name.trim(), width)?, column: column(source)? })
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match self.transform {
            PartitionTransform::Identity => write!(f, "{column}"),
            PartitionTransform::Bucket(width) => write!(f, "bucket({width}, {column})"),
            PartitionTransform::Truncate(width) => write!(f, "truncate({width}, {column})"),
            PartitionTransform::Year => write!(f, "year({column})"),
            PartitionTransform::Month => write!(f, "month({column})"),
            PartitionTransform::Day => write!(f, "day({column})"),
            PartitionTransform::Hour => write!(f, "hour({column})"),
            PartitionTransform::Void => write!(f, "void({column})"),
        }
    }
}

/// One field of a sort order: `price`, `price desc`, `price desc nulls last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortBy {
    /// The source column; dots reach into structs.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Nulls before everything else. By default as Iceberg has it: first when ascending, last when descending.
    pub nulls_first: bool,
}

impl FromStr for SortBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = || {
            Error::new(ErrorKind::Config, format!("expected 'column [asc|desc] [nulls first|last]', found {text:?}"))
        };
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        let name = text.split_whitespace().next().ok_or_else(expected)?;
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let (descending, rest) = match words.as_slice() {
            ["asc", rest @ ..] => (false, rest),
            ["desc", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let nulls_first = match rest {
            [] => !descending,
            ["nulls", "first"] => true,
            ["nulls", "last"] => false,
            _ => return Err(expected()),
        };
        Ok(SortBy { column: column(name)?, descending, nulls_first })
    }
}

impl fmt::Display for SortBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.descending { "desc" } else { "asc" };
        let nulls = if self.nulls_first { "first" } else { "last" };
        write!(f, "{} {direction} nulls {nulls}", self.column)
    }
}

macro_rules! as_text {
    ($type:ty, $name:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(|error: Error| de::Error::custom(error.message()))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}

as_text!(
    PartitionBy,
    "PartitionBy",
    "A column or a transform of one: 'day(ts)', 'bucket(16, user_id)', 'truncate(4, zip)', 'country'."
);
as_text!(SortBy, "SortBy", "A column with direction and nulls: 'price desc nulls last'.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_fields_read_every_transform_and_write_themselves_back() {
        for text in [
            "country",
            "bucket(16, user_id)",
            "truncate(4, zip)",
            "year(ts)",
            "month(ts)",
            "day(ts)",
            "hour(a.ts)",
            "void(x)",
        ] {
            assert_eq!(text.parse::<PartitionBy>().unwrap().to_string(), text);
        }
        assert_eq!("bucket(user_id, 16)".parse::<PartitionBy>().unwrap().to_string(), "bucket(16, user_id)");
        assert_eq!("days(ts)".parse::<PartitionBy>().unwrap().field_name(), "ts_day");
    }

    #[test]
    fn a_mistyped_transform_is_answered_with_the_nearest_one() {
        let error = "dya(ts)".parse::<PartitionBy>().unwrap_err();
        assert_eq!(error.message(), "unknown transform 'dya', did you mean 'day'?");
        for text in ["bucket(ts)", "day(3, ts)", "day(ts", "", "bucket(0, x)", "bucket(x, y)"] {
            assert!(text.parse::<PartitionBy>().is_err(), "{text}");
        }
    }

    #[test]
    fn sort_fields_follow_icebergs_null_order() {
        assert_eq!("price desc".parse::<SortBy>().unwrap().to_string(), "price desc nulls last");
        assert_eq!("price".parse::<SortBy>().unwrap().to_string(), "price asc nulls first");
        assert!("price sideways".parse::<SortBy>().is_err());
    }
}

//! What happens to a job's columns, and the table that they go to.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Error, PartitionBy, Result, SortBy};

/// What happens to the columns: `sql` alone, or any of the other three (`with_columns`, then `where`, then `select`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// `select … from input where …`; row by row, so no aggregates, joins, ordering or limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// New or replaced columns, name to SQL expression.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub with_columns: IndexMap<String, String>,
    /// Keep the rows for which this SQL expression is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Keep these SQL expressions (`price * 2 as double_price`), in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
}

impl Transform {
    /// Whether columns and rows pass as they are.
    pub fn is_empty(&self) -> bool {
        *self == Transform::default()
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.sql.is_some() && !(self.with_columns.is_empty() && self.filter.is_none() && self.select.is_empty()) {
            return Err(Error::config(
                "transform",
                "'sql' says everything: it cannot stand beside 'where', 'select' or 'with_columns'",
            ));
        }
        Ok(())
    }
}

/// The table that a job writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// `namespace.table`.
    pub table: String,
    /// Create the table (and its namespace) if it does not exist.
    #[serde(default = "Sink::default_create")]
    pub create: bool,
    /// Partition fields of a new table: `["day(ts)", "bucket(16, user_id)"]`. Must agree with a table that exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<PartitionBy>,
    /// Sort order of a new table: `["user_id", "ts desc"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort_by: Vec<SortBy>,
    /// Iceberg format version of a new table: 2 or 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_version: Option<u8>,
    /// Target size of a data file; the table's `write.target-file-size-bytes` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<ByteSize>,
    /// Table properties of a new table.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub properties: IndexMap<String, String>,
    /// Location of a new table, if not the catalog's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Sink {
    fn default_create() -> bool {
        true
    }

    pub(super) fn check(&self) -> Result<()> {
        let parts: Vec<&str> = self.table.split('.').collect();
        if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(Error::config("sink.table", format!("expected 'namespace.table', found '{}'", self.table)));
        }
        if let Some(version) = self.format_version
            && !(2..=3).contains(&version)
        {
            return Err(Error::config("sink.format_version", format!("expected 2 or 3, found {version}")));
        }
        for (index, field) in self.partition_by.iter().enumerate() {
            if self.partition_by[..index].iter().any(|other| other.field_name() == field.field_name()) {
                return Err(Error::config(
                    format!("sink.partition_by[{index}]"),
                    format!("'{field}' stands there twice"),
                ));
            }
        }
        if let Some(name) = self.properties.keys().find(|name| name.starts_with("frazil.")) {
            return Err(Error::config(
                format!("sink.properties.{name}"),
                "names that begin with 'frazil.' are Frazil's own",
            ));
        }
        Ok(())
    }
}

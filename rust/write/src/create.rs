//! What a new table looks like, and whether an existing one is what the job asked for.

use arrow::datatypes::Schema as ArrowSchema;
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, PartitionBy, PartitionTransform, Result, Sink, SortBy};
use iceberg::TableCreation;
use iceberg::spec::{
    FormatVersion, NestedFieldRef, NullOrder, PrimitiveType, Schema, SortDirection, SortField, SortOrder,
    TableProperties, Transform, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;

use crate::names::did_you_mean;
use crate::types::FreshSchema;

/// Properties that every new table gets unless the job says otherwise. Writers of other engines fall back to
/// gzip where the codec is not set, at twice the CPU; old metadata files would stay for ever.
pub const DEFAULT_PROPERTIES: [(&str, &str); 5] = [
    ("write.format.default", "parquet"),
    ("write.parquet.compression-codec", "zstd"),
    ("write.parquet.compression-level", crate::properties::ZSTD_LEVEL_TEXT),
    ("write.metadata.delete-after-commit.enabled", "true"),
    ("write.metadata.previous-versions-max", "100"),
];

/// The table that a job creates for rows of this schema.
///
/// The format version is in [`TableCreation::format_version`] only: `format-version` is a reserved name among the
/// properties, and a REST catalog's client has to add it to its request.
///
/// # Errors
/// `Config`, with the path in the job document, for a partition or sort field that does not fit the schema; `Schema` for
/// a column whose type Iceberg does not have.
pub fn table_creation(sink: &Sink, schema: &ArrowSchema) -> Result<TableCreation> {
    let format_version = match sink.format_version {
        Some(3) => FormatVersion::V3,
        _ => FormatVersion::V2,
    };
    let fields = FreshSchema::new(format_version == FormatVersion::V3).fields(schema.fields(), "")?;
    let schema = Schema::builder().with_fields(fields).build().map_err(from_iceberg)?;
    let mut partitioning = UnboundPartitionSpec::builder();
    for (index, field) in sink.partition_by.iter().enumerate() {
        let path = format!("sink.partition_by[{index}]");
        let transform = iceberg_transform(field.transform);
        let source = source(&schema, &field.column, &path)?;
        check_transform(&path, field, transform, source)?;
        partitioning = partitioning
            .add_partition_field(source.id, field.field_name(), transform)
            .map_err(|error| Error::config(&path, error.message()))?;
    }
    let spec = partitioning.build();
    if !sink.partition_by.is_empty() {
        spec.clone().bind(schema.clone()).map_err(|error| Error::config("sink.partition_by", error.message()))?;
    }
    let mut order = SortOrder::builder();
    for (index, field) in sink.sort_by.iter().enumerate() {
        let path = format!("sink.sort_by[{index}]");
        let source = source(&schema, &field.column, &path)?;
        if !source.field_type.is_primitive() {
            return Err(Error::config(
                path,
                format!("'{}' is a {}: only single values can be sorted", field.column, source.field_type),
            ));
        }
        order.with_sort_field(sort_field(field, source.id));
    }
    let order = order.build(&schema).map_err(from_iceberg)?;
    let mut properties: std::collections::HashMap<String, String> =
        DEFAULT_PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if sink.properties.get("write.parquet.compression-codec").is_some_and(|codec| codec != "zstd") {
        properties.remove("write.parquet.compression-level");
    }
    for (name, value) in &sink.properties {
        if TableProperties::RESERVED_PROPERTIES.contains(&name.as_str()) {
            let hint = if name == "format-version" { ": use sink.format_version" } else { "" };
            return Err(Error::config(format!("sink.properties.{name}"), format!("Iceberg sets this by itself{hint}")));
        }
        properties.insert(name.clone(), value.clone());
    }
    let name = sink.table.rsplit('.').next().unwrap_or(&sink.table).to_owned();
    Ok(TableCreation::builder()
        .name(name)
        .location_opt(sink.location.clone())
        .schema(schema)
        .partition_spec(spec)
        .sort_order(order)
        .properties(properties)
        .format_version(format_version)
        .build())
}

/// Checks that an existing table is partitioned and sorted as the job says, where it says anything.
///
/// # Errors
/// `Config` with what the job asks for and what the table has.
pub fn check_sink(sink: &Sink, table: &Table) -> Result<()> {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    let name_of = |id| schema.name_by_field_id(id).unwrap_or("(a dropped column)").to_owned();
    let text = |found: Vec<String>| if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    if !sink.partition_by.is_empty() {
        let spec = metadata.default_partition_spec();
        let found: Vec<String> = spec
            .fields()
            .iter()
            .filter(|field| field.transform != Transform::Void)
            .map(|field| transform_text(field.transform, &name_of(field.source_id)))
            .collect();
        let asked: Vec<String> = sink
            .partition_by
            .iter()
            .filter(|field| field.transform != PartitionTransform::Void)
            .map(|field| transform_text(iceberg_transform(field.transform), &field.column))
            .collect();
        if found != asked {
            return Err(disagree("sink.partition_by", "partitioned", &sink.table, &text(asked), &text(found)));
        }
    }
    if !sink.sort_by.is_empty() {
        let order = metadata.default_sort_order();
        let found: Vec<String> = order.fields.iter().map(|field| sort_text(field, &name_of(field.source_id))).collect();
        let asked: Vec<String> =
            sink.sort_by.iter().map(|field| sort_text(&sort_field(field, 0), &field.column)).collect();
        if found != asked {
            return Err(disagree("sink.sort_by", "sorted", &sink.table, &text(asked), &text(found)));
        }
    }
    match sink.format_version {
        Some(version) if version != metadata.format_version() as u8 => Err(Error::config(
            "sink.format_version",
            format!("expected version {version}, but table '{}' has {}", sink.table, metadata.format_version() as u8),
        )),
        _ => Ok(()),
    }
}

fn disagree(path: &str, verb: &str, table: &str, asked: &str, found: &str) -> Error {
    Error::config(
        path,
        format!("expected {asked}, but table '{table}' is {verb} by {found}: leave it out, or write to another table"),
    )
}

fn source<'a>(schema: &'a Schema, column: &str, path: &str) -> Result<&'a NestedFieldRef> {
    schema.field_by_name(column).ok_or_else(|| {
        let names = schema.field_id_to_name_map().values().map(String::as_str);
        Error::config(path, format!("no column '{column}'{}", did_you_mean(column, names)))
    })
}

fn check_transform(path: &str, field: &PartitionBy, transform: Transform, source: &NestedFieldRef) -> Result<()> {
    if let Some(reason) = cannot_write(transform, &source.field_type, &field.column) {
        return Err(unsupported(format!("{path}: {reason}")));
    }
    if transform.result_type(&source.field_type).is_ok() {
        return Ok(());
    }
    let needs = match field.transform {
        PartitionTransform::Year | PartitionTransform::Month | PartitionTransform::Day => "a date or timestamp",
        PartitionTransform::Hour => "a timestamp",
        PartitionTransform::Truncate(_) => "an int, long, decimal, string or binary",
        PartitionTransform::Bucket(_) => "an int, long, decimal, date, time, timestamp, string, uuid, fixed or binary",
        PartitionTransform::Identity | PartitionTransform::Void => "a single value",
    };
    Err(Error::config(
        path,
        format!("'{field}' needs {needs}, but column '{}' is a {}", field.column, source.field_type),
    ))
}

/// Why partition values cannot be written, if so: Iceberg's Rust crate (0.10) has no way to write a UUID into a manifest.
pub(crate) fn cannot_write(transform: Transform, source: &Type, column: &str) -> Option<String> {
    let uuid = transform == Transform::Identity && source.as_primitive_type() == Some(&PrimitiveType::Uuid);
    uuid.then(|| {
        format!(
            "partitions by the uuid '{column}' itself cannot be written in this version: use 'bucket(16, {column})'"
        )
    })
}

fn sort_field(field: &SortBy, source_id: i32) -> SortField {
    SortField {
        source_id,
        transform: Transform::Identity,
        direction: if field.descending { SortDirection::Descending } else { SortDirection::Ascending },
        null_order: if field.nulls_first { NullOrder::First } else { NullOrder::Last },
    }
}

fn sort_text(field: &SortField, column: &str) -> String {
    format!("{} {} nulls {}", transform_text(field.transform, column), field.direction, field.null_order)
}

fn iceberg_transform(transform: PartitionTransform) -> Transform {
    match transform {
        PartitionTransform::Identity => Transform::Identity,
        PartitionTransform::Bucket(width) => Transform::Bucket(width),
        PartitionTransform::Truncate(width) => Transform::Truncate(width),
        PartitionTransform::Year => Transform::Year,
        PartitionTransform::Month => Transform::Month,
        PartitionTransform::Day => Transform::Day,
        PartitionTransform::Hour => Transform::Hour,
        PartitionTransform::Void => Transform::Void,
    }
}

fn transform_text(transform: Transform, column: &str) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(width) => format!("bucket({width}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}

/// The error for what this crate does not write.
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests;

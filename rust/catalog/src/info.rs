//! A table described in plain values, for people and for Python.

use std::collections::BTreeMap;

use frazil_model::{LEDGER_PREFIX, Result};
use iceberg::spec::{NullOrder, Schema, SortDirection, TableMetadata, Transform};
use iceberg::table::Table;
use serde_json::{Value, json};

/// Location, format version, columns, partition fields, sort order, properties, snapshots (oldest first) and ledgers of
/// a table, as JSON. Partition and sort fields are written as the job document writes them.
///
/// # Errors
/// `Catalog` if a ledger property is not JSON.
pub fn table_info(table: &Table) -> Result<Value> {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    let mut ledgers = BTreeMap::new();
    for (name, text) in metadata.properties() {
        if let Some(job) = name.strip_prefix(LEDGER_PREFIX) {
            let ledger = frazil_model::Ledger::parse(text)?;
            ledgers.insert(job, serde_json::to_value(ledger).expect("a ledger is plain data"));
        }
    }
    Ok(json!({
        "location": metadata.location(),
        "uuid": metadata.uuid(),
        "format_version": metadata.format_version() as u8,
        "schema": columns(schema),
        "partition_spec": partition_fields(metadata),
        "sort_order": sort_fields(metadata),
        "properties": metadata.properties().iter().collect::<BTreeMap<_, _>>(),
        "snapshots": snapshots(metadata),
        "current_snapshot_id": metadata.current_snapshot_id(),
        "ledgers": ledgers,
    }))
}

fn columns(schema: &Schema) -> Vec<Value> {
    let fields = schema.as_struct().fields().iter();
    fields
        .map(|field| {
            json!({
                "id": field.id,
                "name": field.name,
                "type": field.field_type.to_string(),
                "required": field.required,
                "doc": field.doc,
            })
        })
        .collect()
}

fn column_name(schema: &Schema, id: i32) -> String {
    schema.name_by_field_id(id).map_or_else(|| format!("dropped column {id}"), str::to_owned)
}

fn transformed(transform: Transform, column: String) -> String {
    match transform {
        Transform::Identity => column,
        Transform::Bucket(width) => format!("bucket({width}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}

fn partition_fields(metadata: &TableMetadata) -> Vec<String> {
    let fields = metadata.default_partition_spec().fields().iter();
    fields.map(|field| transformed(field.transform, column_name(metadata.current_schema(), field.source_id))).collect()
}

fn sort_fields(metadata: &TableMetadata) -> Vec<String> {
    let fields = metadata.default_sort_order().fields.iter();
    fields
        .map(|field| {
            let column = transformed(field.transform, column_name(metadata.current_schema(), field.source_id));
            let direction = if field.direction == SortDirection::Descending { "desc" } else { "asc" };
            let nulls = if field.null_order == NullOrder::First { "first" } else { "last" };
            format!("{column} {direction} nulls {nulls}")
        })
        .collect()
}

fn snapshots(metadata: &TableMetadata) -> Vec<Value> {
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    snapshots
        .into_iter()
        .map(|snapshot| {
            json!({
                "snapshot_id": snapshot.snapshot_id(),
                "parent_id": snapshot.parent_snapshot_id(),
                "timestamp_ms": snapshot.timestamp_ms(),
                "operation": snapshot.summary().operation.as_str(),
                "summary": snapshot.summary().additional_properties.iter().collect::<BTreeMap<_, _>>(),
            })
        })
        .collect()
}

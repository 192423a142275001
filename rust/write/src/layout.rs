//! A table's columns as a data file has them: the Arrow schema with field ids, the Parquet schema, and its leaves.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, SchemaRef};
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{PrimitiveType, Schema, Type};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

/// Everything about columns that is the same for all files of a table.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) arrow: SchemaRef,
    pub(crate) parquet: SchemaDescriptor,
    /// One for each Parquet column, in its order.
    pub(crate) leaves: Vec<Leaf>,
}

/// A Parquet column.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) field_id: i32,
    /// The name as table properties use it: `address.city`, `tags.element`.
    pub(crate) name: String,
    pub(crate) primitive: PrimitiveType,
    pub(crate) path: ColumnPath,
    /// Inside a list or map: values are many for a row, so Iceberg keeps counts but no bounds.
    pub(crate) repeated: bool,
}

impl Layout {
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        let arrow = Arc::new(schema_to_arrow_schema(schema).map_err(from_iceberg)?);
        let parquet = ArrowSchemaConverter::new().convert(&arrow).map_err(crate::parquet_error)?;
        let leaves = parquet
            .columns()
            .iter()
            .map(|column| {
                let field_id = column.self_type().get_basic_info().id();
                let missing = || {
                    Error::new(ErrorKind::Internal, format!("Parquet column {} has no Iceberg field", column.path()))
                };
                let Type::Primitive(primitive) = schema.field_by_id(field_id).ok_or_else(missing)?.field_type.as_ref()
                else {
                    return Err(missing());
                };
                Ok(Leaf {
                    field_id,
                    name: schema.name_by_field_id(field_id).ok_or_else(missing)?.to_owned(),
                    primitive: primitive.clone(),
                    path: column.path().clone(),
                    repeated: column.max_rep_level() > 0,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Layout { arrow, parquet, leaves })
    }

    /// Where fields stand in a batch: indices from the top-level column inwards, through structs only.
    pub(crate) fn positions(&self) -> HashMap<i32, Vec<usize>> {
        let mut found = HashMap::new();
        collect_positions(self.arrow.fields(), &mut Vec::new(), &mut found);
        found
    }
}

fn collect_positions(fields: &Fields, at: &mut Vec<usize>, found: &mut HashMap<i32, Vec<usize>>) {
    for (index, field) in fields.iter().enumerate() {
        at.push(index);
        let id = field.metadata().get(parquet::arrow::PARQUET_FIELD_ID_META_KEY);
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            found.insert(id, at.clone());
        }
        if let DataType::Struct(inner) = field.data_type() {
            collect_positions(inner, at, found);
        }
        at.pop();
    }
}

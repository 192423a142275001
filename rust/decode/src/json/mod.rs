//! JSON: one object a record, its members columns by name.
//!
//! The columns are declared ([`types`]), else the table's, else inferred from the first records ([`infer`]). Each
//! record is judged ([`judge`]), the good ones are decoded by arrow-json. What counts:
//!
//! * members that no column has are ignored; of several with one name the last counts;
//! * a missing member and `null` are null, and refused where the column is required;
//! * integers must be integers in range (2.0 and 1e3 are), decimals fit without rounding; neither is read from text,
//!   only decimals may be;
//! * dates, times and timestamps are text by ISO 8601 / RFC 3339, never numbers (whose unit nobody could know);
//!   timestamps have microseconds, finer digits are cut; without a zone they are UTC, and `timestamp` is the UTC time;
//! * binary and fixed are hexadecimal, as Iceberg's own JSON has them; 16 bytes may have a UUID's hyphens.

mod escapes;
mod infer;
mod judge;
#[cfg(test)]
mod tests;
mod text;
mod types;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StructArray, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::json::StructMode;
use arrow::json::reader::{Decoder, ReaderBuilder};
use frazil_model::{Error, ErrorKind, Json, Records, Rejected, Result};

use crate::convert::{Shape, list_of, map_of};
use crate::decoder::rejected;
use crate::format::{Rows, Values};
use crate::isolate::{guarded, isolate};
use judge::{Member, Node, judge};

/// Records that arrow-json decodes at once: it allocates for so many beforehand.
const CHUNK: usize = 4096;

/// Decodes JSON values.
pub(crate) struct JsonFormat {
    plan: Arc<Plan>,
    /// `None` after a failure: a decoder that failed holds part of a record.
    decoder: Option<Decoder>,
}

struct Plan {
    fields: Fields,
    members: Vec<Member>,
    /// What arrow-json is told; differs from `fields` where it reads a type in another way.
    told: SchemaRef,
    shape: Shape,
    coerce: bool,
}

impl JsonFormat {
    /// Settles the columns. `ours` says which of the table's columns do not come from the value.
    pub(crate) fn open(
        json: &Json,
        table: Option<SchemaRef>,
        sample: Option<&Records>,
        ours: impl Fn(&str) -> bool,
    ) -> Result<JsonFormat> {
        let (fields, coerce) = match (&json.schema, table, sample) {
            (Some(schema), _, _) => {
                let path = |name: &str| format!("decode.json.schema.{name}");
                let fields = schema
                    .iter()
                    .map(|(name, text)| types::column(name, text).map_err(|why| Error::config(path(name), why)));
                (fields.collect::<Result<Vec<_>>>()?.into(), false)
            }
            // Whether a required column of the table is filled is only known behind the transform, which may do so.
            (None, Some(table), _) => {
                let fields = table.fields().iter().filter(|field| !ours(field.name()));
                (fields.map(|field| Field::clone(field).with_nullable(true)).collect(), false)
            }
            (None, None, Some(sample)) => (infer::columns(sample, json.infer_records)?, true),
            (None, None, None) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "JSON without a schema needs the table's schema or a sample of the records",
                ));
            }
        };
        let mut told = Vec::with_capacity(fields.len());
        let mut shapes = Vec::with_capacity(fields.len());
        let mut members = Vec::with_capacity(fields.len());
        for field in fields.iter() {
            let (member, field, shape) = plan(field, field.name(), coerce)?;
            members.push(member);
            told.push(field);
            shapes.push(shape);
        }
        let plan = Plan { members, told: Arc::new(Schema::new(told)), shape: Shape::Struct(shapes), coerce, fields };
        plan.decoder().map_err(|why| Error::new(ErrorKind::Unsupported, format!("decode.json: {why}")))?;
        Ok(JsonFormat { plan: Arc::new(plan), decoder: None })
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.plan.fields
    }

    pub(crate) fn fork(&self) -> JsonFormat {
        JsonFormat { plan: self.plan.clone(), decoder: None }
    }

    /// Decodes all values.
    pub(crate) fn decode(&mut self, records: &Records) -> Result<Values> {
        let plan = self.plan.clone();
        let mut bad = Vec::new();
        let mut parts = Vec::new();
        let mut chunk: Vec<u32> = Vec::with_capacity(CHUNK.min(records.len()));
        for row in 0..records.len() {
            let verdict = match records.value(row) {
                None => Err("the value is null (a tombstone)".to_owned()),
                Some(value) => judge(&plan.members, value),
            };
            match verdict {
                Err(reason) => bad.push(rejected(row, reason)),
                Ok(()) => chunk.push(row as u32),
            }
            if chunk.len() == CHUNK {
                parts.extend(self.chunk(records, &chunk, &mut bad));
                chunk.clear();
            }
        }
        parts.extend(self.chunk(records, &chunk, &mut bad));
        bad.sort_unstable_by_key(|rejected| rejected.row);
        let (rows, columns) = join(parts, &plan.fields, records.len())?;
        Ok(Values { columns, rows, rejected: bad })
    }

    /// Decodes records that were judged good.
    fn chunk(&mut self, records: &Records, rows: &[u32], bad: &mut Vec<Rejected>) -> Vec<(Vec<u32>, StructArray)> {
        if rows.is_empty() {
            return Vec::new();
        }
        let value = |row: &u32| records.value(*row as usize).unwrap_or_default();
        let decode = |decoder: &mut Decoder, rows: &[u32]| {
            rows.iter().try_for_each(|row| feed(decoder, value(row)))?;
            self.plan.take(decoder, rows.len())
        };
        let kept = self.decoder.take().map_or_else(|| self.plan.decoder(), Ok);
        let whole = kept.and_then(|mut decoder| guarded(|| decode(&mut decoder, rows).map(|array| (decoder, array))));
        if let Ok((decoder, array)) = whole {
            self.decoder = Some(decoder);
            return vec![(rows.to_vec(), array)];
        }
        let mut anew = |rows: &[u32]| decode(&mut self.plan.decoder()?, rows);
        isolate(rows, &mut anew, &mut |row, reason| bad.push(rejected(row as usize, reason)))
    }
}

impl Plan {
    fn decoder(&self) -> Result<Decoder, String> {
        let builder = ReaderBuilder::new(self.told.clone())
            .with_struct_mode(StructMode::ObjectOnly)
            .with_coerce_primitive(self.coerce);
        builder.with_batch_size(CHUNK).build_decoder().map_err(|error| error.to_string())
    }

    fn take(&self, decoder: &mut Decoder, rows: usize) -> Result<StructArray, String> {
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        let batch = batch.filter(|batch| batch.num_rows() == rows).ok_or("the values are not one row a record")?;
        let target = DataType::Struct(self.fields.clone());
        let array = self.shape.apply(Arc::new(StructArray::from(batch)), &target).map_err(|error| error.to_string())?;
        Ok(array.as_struct().clone())
    }
}

/// Decodes one object.
fn feed(decoder: &mut Decoder, value: &[u8]) -> Result<(), String> {
    let before = decoder.len();
    // The line's end keeps what follows apart.
    for part in [&*escapes::without_pairs(value), b"\n"] {
        if decoder.decode(part).map_err(|error| error.to_string())? != part.len() {
            return Err("the value is not read to its end".to_owned());
        }
    }
    if decoder.len() == before + 1 && !decoder.has_partial_record() {
        Ok(())
    } else {
        Err("the value is not exactly one object".to_owned())
    }
}

/// Puts parts, which are in order, behind each other.
fn join(parts: Vec<(Vec<u32>, StructArray)>, fields: &Fields, records: usize) -> Result<(Rows, Vec<ArrayRef>)> {
    let failed = |error| Error::new(ErrorKind::Internal, "decoded parts do not fit together").caused_by(error);
    let columns = (0..fields.len()).map(|at| match parts.as_slice() {
        [] => Ok(new_empty_array(fields[at].data_type())),
        [(_, array)] => Ok(array.column(at).clone()),
        _ => {
            let columns: Vec<_> = parts.iter().map(|(_, array)| array.column(at).as_ref()).collect();
            arrow::compute::concat(&columns).map_err(failed)
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows: Vec<u32> = parts.into_iter().flat_map(|(rows, _)| rows).collect();
    Ok((if rows.len() == records { Rows::All } else { Rows::Some(rows) }, columns))
}

/// The judge of a column, what arrow-json is told, and how its array becomes the column.
fn plan(field: &Field, path: &str, any: bool) -> Result<(Member, Field, Shape)> {
    let integer = |name, from, to| Node::Integer { name, from, to };
    let mut told = field.clone();
    let mut shape = Shape::Same;
    let node = match field.data_type() {
        DataType::Boolean => Node::Boolean,
        DataType::Int32 => integer("an int", i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => integer("a long", i64::MIN, i64::MAX),
        DataType::Float32 => Node::Float,
        DataType::Float64 => Node::Double,
        DataType::Decimal128(precision, scale) => Node::Decimal(*precision, *scale),
        DataType::Date32 => Node::Date,
        DataType::Time64(TimeUnit::Microsecond) => Node::Time,
        DataType::Timestamp(TimeUnit::Microsecond, _) => Node::Timestamp,
        DataType::Utf8 | DataType::LargeUtf8 => Node::Text { any },
        // Arrow has no type of its own for UUIDs, so 16 bytes may be one: both forms are read.
        DataType::FixedSizeBinary(16) => {
            told = told.with_data_type(DataType::Utf8);
            shape = Shape::UuidText;
            Node::Uuid
        }
        DataType::FixedSizeBinary(size) => Node::Hex { bytes: usize::try_from(*size).ok() },
        DataType::Binary | DataType::LargeBinary => Node::Hex { bytes: None },
        DataType::List(element) => {
            let (member, field, inner) = plan(element, &format!("{path}.element"), any)?;
            told = told.with_data_type(list_of(field));
            shape = Shape::List(Box::new(inner));
            Node::List(Box::new(member))
        }
        DataType::Map(entries, _) => {
            let value = match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 && fields[0].data_type() == &DataType::Utf8 => &fields[1],
                _ => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("column '{path}': a map from JSON has strings as keys, found {}", field.data_type()),
                    ));
                }
            };
            let (member, field, inner) = plan(value, &format!("{path}.value"), any)?;
            told = told.with_data_type(map_of(Field::new("key", DataType::Utf8, false), field));
            shape = Shape::Map(Box::new(inner));
            Node::Map(Box::new(member))
        }
        DataType::Struct(fields) => {
            let mut members = Vec::new();
            let mut inner: Vec<FieldRef> = Vec::new();
            let mut shapes = Vec::new();
            for field in fields {
                let (member, field, shape) = plan(field, &format!("{path}.{}", field.name()), any)?;
                members.push(member);
                inner.push(Arc::new(field));
                shapes.push(shape);
            }
            told = told.with_data_type(DataType::Struct(inner.into()));
            shape = Shape::Struct(shapes);
            Node::Struct(members)
        }
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column '{path}': {other} cannot be read from JSON; declare decode.json.schema"),
            ));
        }
    };
    Ok((Member { name: field.name().clone(), required: !field.is_nullable(), node }, told, shape))
}

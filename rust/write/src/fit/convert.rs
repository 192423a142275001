//! Values of a column, converted and checked. Where any do not fit, their rows are returned instead of the column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Float32Array, ListArray, MapArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options, kernels::cmp, take};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use frazil_model::Result;

use super::plan::{Check, Child, ChildSource, Plan, entries};
use crate::arrow_error;

/// A row that does not fit, and why.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) row: usize,
    pub(super) reason: String,
}

impl Bad {
    pub(super) fn null(row: usize, name: &str) -> Self {
        Bad { row, reason: format!("column '{name}' is required but null") }
    }

    fn value(row: usize, name: &str, array: &dyn Array, to: &DataType) -> Self {
        Bad { row, reason: format!("column '{name}': {} does not fit into {to}", shown(array, row)) }
    }
}

/// A value for a message, cut where it is long.
fn shown(array: &dyn Array, row: usize) -> String {
    const LONGEST: usize = 64;
    let options = FormatOptions::default().with_display_error(true);
    let text = match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => return "the value".to_owned(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

type Converted = std::result::Result<ArrayRef, Vec<Bad>>;

const CHECKED: CastOptions<'static> = CastOptions { safe: true, format_options: FormatOptions::new() };

pub(super) fn convert(plan: &Plan, array: &ArrayRef, name: &str) -> Result<Converted> {
    match plan {
        Plan::Keep => Ok(Ok(array.clone())),
        Plan::Cast(to) => cast_with_options(array, to, &CHECKED).map(Ok).map_err(arrow_error),
        Plan::Checked(to, check) => checked(array, to, *check, name),
        Plan::ParseUuid => parse_uuids(array, name),
        Plan::Fixed(width) => fixed(array, *width, name),
        Plan::Struct(fields, children) => {
            let source = array.as_struct();
            let mut arrays = Vec::with_capacity(children.len());
            let mut bad = Vec::new();
            for child in children {
                match child.convert(source.columns(), source.nulls(), source.len())? {
                    Ok(array) => arrays.push(array),
                    Err(mut more) => bad.append(&mut more),
                }
            }
            if !bad.is_empty() {
                return Ok(Err(bad));
            }
            let built = StructArray::try_new_with_length(fields.clone(), arrays, source.nulls().cloned(), source.len());
            built.map(|array| Ok(Arc::new(array) as ArrayRef)).map_err(arrow_error)
        }
        Plan::List(first, field, child) => {
            let plain = match first {
                Some(list) => cast_with_options(array, list, &CHECKED).map_err(arrow_error)?,
                None => array.clone(),
            };
            let list = plain.as_list::<i32>();
            match child.convert(&[list.values().clone()], None, list.values().len())? {
                Ok(values) => {
                    let built =
                        ListArray::try_new(field.clone(), list.offsets().clone(), values, list.nulls().cloned());
                    built.map(|array| Ok(Arc::new(array) as ArrayRef)).map_err(arrow_error)
                }
                Err(bad) => {
                    rows_of(bad, list.offsets(), list.nulls(), || compact_list(list), |list| convert(plan, list, name))
                }
            }
        }
        Plan::Map(field, key, value) => {
            let map = array.as_map();
            let columns = map.entries().columns();
            let (keys, values) =
                (key.convert(columns, None, map.entries().len())?, value.convert(columns, None, map.entries().len())?);
            match (keys, values) {
                (Ok(keys), Ok(values)) => {
                    let pair = StructArray::try_new(entries(field), vec![keys, values], None).map_err(arrow_error)?;
                    let built =
                        MapArray::try_new(field.clone(), map.offsets().clone(), pair, map.nulls().cloned(), false);
                    built.map(|array| Ok(Arc::new(array) as ArrayRef)).map_err(arrow_error)
                }
                (keys, values) => {
                    let bad = [keys.err(), values.err()].into_iter().flatten().flatten().collect();
                    rows_of(bad, map.offsets(), map.nulls(), || compact_map(map), |map| convert(plan, map, name))
                }
            }
        }
    }
}

/// Places among a list's elements → rows. Elements that no row refers to (behind nulls, or outside a slice) do not count:
/// if only those are bad, the list is copied without them and converted again.
fn rows_of(
    bad: Vec<Bad>,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    compact: impl FnOnce() -> Result<ArrayRef>,
    again: impl FnOnce(&ArrayRef) -> Result<Converted>,
) -> Result<Converted> {
    let row_of = |element: usize| {
        let behind = offsets.partition_point(|offset| usize::try_from(*offset).is_ok_and(|offset| offset <= element));
        let row = behind.checked_sub(1)?;
        (row + 1 < offsets.len() && nulls.is_none_or(|nulls| nulls.is_valid(row))).then_some(row)
    };
    let rows: Vec<Bad> =
        bad.into_iter().filter_map(|bad| Some(Bad { row: row_of(bad.row)?, reason: bad.reason })).collect();
    if rows.is_empty() { again(&compact()?) } else { Ok(Err(rows)) }
}

fn compact_list(list: &ListArray) -> Result<ArrayRef> {
    take(list, &all_rows(list.len()), None).map_err(arrow_error)
}

fn compact_map(map: &MapArray) -> Result<ArrayRef> {
    take(map, &all_rows(map.len()), None).map_err(arrow_error)
}

fn all_rows(rows: usize) -> UInt32Array {
    (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect()
}

impl Child {
    /// `outer`: where the value around it is null, a null inside means nothing.
    fn convert(&self, columns: &[ArrayRef], outer: Option<&NullBuffer>, rows: usize) -> Result<Converted> {
        let present = |row: usize| outer.is_none_or(|outer| outer.is_valid(row));
        let array = match &self.source {
            ChildSource::Constant(value) => {
                let zeros = UInt32Array::from_value(0, rows);
                take(value, &zeros, None).map_err(arrow_error)?
            }
            ChildSource::Input(index, plan) => match convert(plan, &columns[*index], &self.name)? {
                Ok(array) => array,
                Err(bad) => {
                    let visible: Vec<Bad> = bad.into_iter().filter(|bad| present(bad.row)).collect();
                    if !visible.is_empty() {
                        return Ok(Err(visible));
                    }
                    // Only values that nobody sees are bad: blank them.
                    let blank =
                        arrow::compute::nullif(&columns[*index], &outer_mask(outer, rows)).map_err(arrow_error)?;
                    match convert(plan, &blank, &self.name)? {
                        Ok(array) => array,
                        Err(bad) => return Ok(Err(bad)),
                    }
                }
            },
        };
        if self.required && array.logical_null_count() > 0 {
            let bad: Vec<Bad> = (0..rows)
                .filter(|row| array.is_null(*row) && present(*row))
                .map(|row| Bad::null(row, &self.name))
                .collect();
            if !bad.is_empty() {
                return Ok(Err(bad));
            }
        }
        Ok(Ok(array))
    }
}

fn outer_mask(outer: Option<&NullBuffer>, rows: usize) -> arrow::array::BooleanArray {
    (0..rows).map(|row| Some(outer.is_some_and(|outer| outer.is_null(row)))).collect()
}

fn checked(array: &ArrayRef, to: &DataType, check: Check, name: &str) -> Result<Converted> {
    let found = cast_with_options(array, to, &CHECKED).map_err(arrow_error)?;
    let mut bad = Vec::new();
    if found.null_count() > array.null_count() {
        bad.extend((0..array.len()).filter(|row| found.is_null(*row) && array.is_valid(*row)));
    }
    match check {
        Check::Range => {}
        Check::Exact => {
            let back = cast_with_options(&found, array.data_type(), &CHECKED).map_err(arrow_error)?;
            let different = cmp::distinct(&back, array).map_err(arrow_error)?;
            if different.true_count() > 0 {
                bad.extend((0..array.len()).filter(|row| different.value(*row) && found.is_valid(*row)));
            }
        }
        Check::Finite => {
            let (wide, narrow) = (array.as_primitive::<Float64Type>(), found.as_any().downcast_ref::<Float32Array>());
            if let Some(narrow) = narrow {
                let infinite = |row: usize| narrow.value(row).is_infinite() && wide.value(row).is_finite();
                bad.extend((0..array.len()).filter(|row| array.is_valid(*row) && infinite(*row)));
            }
        }
    }
    if bad.is_empty() {
        return Ok(Ok(found));
    }
    Ok(Err(bad.into_iter().map(|row| Bad::value(row, name, array, to)).collect()))
}

fn parse_uuids(array: &ArrayRef, name: &str) -> Result<Converted> {
    let text = cast_with_options(array, &DataType::Utf8, &CHECKED).map_err(arrow_error)?;
    let mut builder = FixedSizeBinaryBuilder::with_capacity(array.len(), 16);
    let mut bad = Vec::new();
    for (row, value) in text.as_string::<i32>().iter().enumerate() {
        match value.map(uuid::Uuid::try_parse) {
            None => builder.append_null(),
            Some(Ok(uuid)) => builder.append_value(uuid.as_bytes()).map_err(arrow_error)?,
            Some(Err(_)) => bad.push(Bad { row, reason: format!("column '{name}': {} is no UUID", shown(array, row)) }),
        }
    }
    Ok(if bad.is_empty() { Ok(Arc::new(builder.finish())) } else { Err(bad) })
}

fn fixed(array: &ArrayRef, width: i32, name: &str) -> Result<Converted> {
    let bytes = cast_with_options(array, &DataType::LargeBinary, &CHECKED).map_err(arrow_error)?;
    let mut builder = FixedSizeBinaryBuilder::with_capacity(array.len(), width);
    let mut bad = Vec::new();
    for (row, value) in bytes.as_binary::<i64>().iter().enumerate() {
        match value {
            None => builder.append_null(),
            Some(value) if i32::try_from(value.len()) == Ok(width) => {
                builder.append_value(value).map_err(arrow_error)?
            }
            Some(value) => {
                bad.push(Bad { row, reason: format!("column '{name}': expected {width} bytes, found {}", value.len()) })
            }
        }
    }
    Ok(if bad.is_empty() { Ok(Arc::new(builder.finish())) } else { Err(bad) })
}

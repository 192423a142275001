//! What Iceberg records of a data file's columns: sizes, counts and bounds, as the table's metrics modes ask for.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{DataFileBuilder, Datum, PrimitiveType, TableMetadata};
use parquet::file::metadata::ParquetMetaData;

use crate::bounds;
use crate::column::extract;
use crate::layout::Layout;
use crate::properties::Properties;

/// A column's metrics mode (`write.metadata.metrics.…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    None,
    Counts,
    Truncate(usize),
    Full,
}

const DEFAULT_MODE: Mode = Mode::Truncate(16);

impl Mode {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let width = lower
            .strip_prefix("truncate(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|width| width.trim().parse().ok());
        match (lower.as_str(), width) {
            ("none", _) => Ok(Mode::None),
            ("counts", _) => Ok(Mode::Counts),
            ("full", _) => Ok(Mode::Full),
            (_, Some(width)) if width > 0 => Ok(Mode::Truncate(width)),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("table property {name}: expected none, counts, truncate(n) or full, found '{text}'"),
            )),
        }
    }

    /// The mode of each leaf. Without a default in the table, columns behind the first hundred have none, as in Iceberg's
    /// own writers: their metrics would fill the manifests. Partitioning and sorting columns keep theirs.
    pub(crate) fn of(metadata: &TableMetadata, layout: &Layout) -> Result<Vec<Mode>> {
        const DEFAULT: &str = "write.metadata.metrics.default";
        let properties = Properties(metadata.properties());
        let given = properties.text(DEFAULT).map(|text| Mode::parse(DEFAULT, text)).transpose()?;
        let inferred: usize = properties.get("write.metadata.metrics.max-inferred-column-defaults", 100)?;
        let sorted: Vec<i32> = metadata.default_sort_order().fields.iter().map(|field| field.source_id).collect();
        layout
            .leaves
            .iter()
            .enumerate()
            .map(|(index, leaf)| {
                let name = format!("write.metadata.metrics.column.{}", leaf.name);
                let mode = match properties.text(&name) {
                    Some(text) => Mode::parse(&name, text)?,
                    None => match given {
                        Some(mode) if sorted.contains(&leaf.field_id) && matches!(mode, Mode::None | Mode::Counts) => {
                            DEFAULT_MODE
                        }
                        Some(mode) => mode,
                        None if index < inferred || sorted.contains(&leaf.field_id) => DEFAULT_MODE,
                        None => Mode::None,
                    },
                };
                Ok(if leaf.repeated && mode != Mode::None { Mode::Counts } else { mode })
            })
            .collect()
    }

    /// How many bytes of a value Parquet's statistics must keep so that bounds of these modes are exact.
    pub(crate) fn statistics_length(modes: &[Mode]) -> Option<usize> {
        let mut longest = 64;
        for mode in modes {
            match mode {
                Mode::Full => return None,
                // A character has up to four bytes.
                Mode::Truncate(width) => longest = longest.max(width.saturating_mul(4)),
                Mode::None | Mode::Counts => {}
            }
        }
        Some(longest)
    }
}

/// Counts the NaNs of a file's float columns as its rows go by: Parquet does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct NanCounts {
    columns: Vec<(i32, Vec<usize>, u64)>,
}

impl NanCounts {
    pub(crate) fn new(layout: &Layout, modes: &[Mode]) -> Self {
        let positions = layout.positions();
        let columns = layout.leaves.iter().zip(modes).filter(|(leaf, mode)| {
            **mode != Mode::None
                && !leaf.repeated
                && matches!(leaf.primitive, PrimitiveType::Float | PrimitiveType::Double)
        });
        let columns = columns.filter_map(|(leaf, _)| Some((leaf.field_id, positions.get(&leaf.field_id)?.clone(), 0)));
        NanCounts { columns: columns.collect() }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        for (_, path, count) in &mut self.columns {
            let column = extract(batch, path);
            let valid = |row: usize| column.is_valid(row);
            let found = match column.data_type() {
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>().values();
                    count_nans(values.iter().map(|value| value.is_nan()), column.null_count(), valid)
                }
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>().values();
                    count_nans(values.iter().map(|value| value.is_nan()), column.null_count(), valid)
                }
                _ => 0,
            };
            *count += found as u64;
        }
    }
}

fn count_nans(nans: impl Iterator<Item = bool>, nulls: usize, valid: impl Fn(usize) -> bool) -> usize {
    if nulls == 0 {
        nans.map(usize::from).sum()
    } else {
        nans.enumerate().filter(|(row, nan)| *nan && valid(*row)).count()
    }
}

#[derive(Default)]
struct Column {
    size: u64,
    values: u64,
    nulls: Option<u64>,
    lower: Option<Datum>,
    upper: Option<Datum>,
    /// A row group without statistics leaves the whole file without bounds: they would not cover it.
    unbounded: bool,
}

/// Adds the metrics of a finished file.
pub(crate) fn add_metrics(
    file: &mut DataFileBuilder,
    parquet: &ParquetMetaData,
    layout: &Layout,
    modes: &[Mode],
    nans: &NanCounts,
) -> Result<()> {
    let mut sizes = HashMap::new();
    let (mut values, mut nulls) = (HashMap::new(), HashMap::new());
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    for (index, (leaf, mode)) in layout.leaves.iter().zip(modes).enumerate() {
        let column = gather(parquet, index, &leaf.primitive, matches!(mode, Mode::Truncate(_) | Mode::Full))?;
        sizes.insert(leaf.field_id, column.size);
        if *mode == Mode::None {
            continue;
        }
        values.insert(leaf.field_id, column.values);
        if let Some(count) = column.nulls {
            nulls.insert(leaf.field_id, count);
        }
        if column.unbounded {
            continue;
        }
        let cut = |bound: Option<Datum>, upper: bool| match (mode, upper) {
            (Mode::Truncate(width), false) => bound.map(|bound| bounds::truncate_lower(bound, *width)),
            (Mode::Truncate(width), true) => bound.and_then(|bound| bounds::truncate_upper(bound, *width)),
            _ => bound,
        };
        if let Some(bound) = cut(column.lower, false) {
            lower.insert(leaf.field_id, bound);
        }
        if let Some(bound) = cut(column.upper, true) {
            upper.insert(leaf.field_id, bound);
        }
    }
    let offsets = parquet
        .row_groups()
        .iter()
        .filter_map(|group| group.columns().first())
        .map(|column| column.byte_range().0 as i64);
    file.column_sizes(sizes)
        .value_counts(values)
        .null_value_counts(nulls)
        .nan_value_counts(nans.columns.iter().map(|(id, _, count)| (*id, *count)).collect())
        .lower_bounds(lower)
        .upper_bounds(upper)
        .split_offsets(Some(offsets.collect()));
    Ok(())
}

fn gather(parquet: &ParquetMetaData, index: usize, primitive: &PrimitiveType, bounded: bool) -> Result<Column> {
    let mut column = Column { nulls: Some(0), unbounded: !bounded, ..Column::default() };
    for group in parquet.row_groups() {
        let chunk = group.column(index);
        column.size += chunk.compressed_size().unsigned_abs();
        let values = chunk.num_values().unsigned_abs();
        column.values += values;
        let Some(statistics) = chunk.statistics() else {
            column.nulls = None;
            column.unbounded = true;
            continue;
        };
        column.nulls = column.nulls.zip(statistics.null_count_opt()).map(|(sum, count)| sum + count);
        if column.unbounded {
            continue;
        }
        match (statistics.min_bytes_opt(), statistics.max_bytes_opt()) {
            (Some(min), Some(max)) => {
                let (min, max) =
                    (bounds::datum(primitive, statistics, min)?, bounds::datum(primitive, statistics, max)?);
                let (Some(min), Some(max)) = (min, max) else {
                    column.unbounded = true;
                    continue;
                };
                if column.lower.as_ref().is_none_or(|known| min < *known) {
                    column.lower = Some(min);
                }
                if column.upper.as_ref().is_none_or(|known| max > *known) {
                    column.upper = Some(max);
                }
            }
            // Only nulls (or NaNs, which bounds do not count) have no bounds.
            _ if statistics.null_count_opt() == Some(values) => {}
            _ if matches!(primitive, PrimitiveType::Float | PrimitiveType::Double) => {}
            _ => column.unbounded = true,
        }
    }
    Ok(column)
}

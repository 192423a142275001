//! Table properties → how Parquet is written. A property that cannot be honoured is an error, never ignored.

use std::collections::HashMap;
use std::str::FromStr;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::TableMetadata;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{
    BloomFilterPosition, CdcOptions, EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};

use crate::create::unsupported;
use crate::layout::{Layout, Leaf};
use crate::metrics::Mode;

/// zstd's level where a table does not say: on event data, level 3 takes much more CPU for a few percent of size.
pub(crate) const ZSTD_LEVEL: i32 = 1;
pub(crate) const ZSTD_LEVEL_TEXT: &str = "1";

const MIB: u64 = 1 << 20;
/// Rows of a row group whatever its size: bounds what one reader thread must take on.
const MAX_GROUP_ROWS: usize = 16 << 20;

/// Text and settings of a table, read with the property's name in errors.
pub(crate) struct Properties<'a>(pub(crate) &'a HashMap<String, String>);

impl Properties<'_> {
    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| {
                let expected = std::any::type_name::<T>();
                let expected = match expected {
                    "bool" => "true or false",
                    "f64" => "a number",
                    _ => "a whole number",
                };
                Error::new(ErrorKind::Config, format!("table property {name}: expected {expected}, found '{text}'"))
            }),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim())
    }
}

/// Size at which a file is closed and the next begun.
pub(crate) fn target_file_size(metadata: &TableMetadata) -> Result<u64> {
    Properties(metadata.properties()).get("write.target-file-size-bytes", 512 * MIB).map(|size| size.max(1))
}

/// The writer's properties, but for dictionaries (see `writer_properties`' caller: columns where they did not help).
///
/// `max_group_bytes` caps the row group, which is held in memory until it is complete.
pub(crate) fn writer_properties(
    metadata: &TableMetadata,
    layout: &Layout,
    modes: &[Mode],
    max_group_bytes: usize,
) -> Result<WriterPropertiesBuilder> {
    let properties = Properties(metadata.properties());
    if let Some(format) =
        properties.text("write.format.default").filter(|format| !format.eq_ignore_ascii_case("parquet"))
    {
        return Err(unsupported(format!("the table's write.format.default is '{format}': only parquet is written")));
    }
    if metadata.properties().contains_key("encryption.key-id") {
        return Err(unsupported("the table is encrypted (encryption.key-id): encrypted files are not written"));
    }
    let group_bytes: usize = properties.get("write.parquet.row-group-size-bytes", 128 * MIB as usize)?;
    let mut builder = WriterProperties::builder()
        .set_writer_version(page_version(&properties)?)
        .set_created_by(concat!("frazil ", env!("CARGO_PKG_VERSION"), " (parquet-rs)").to_owned())
        .set_compression(compression(&properties)?)
        .set_max_row_group_bytes(Some(group_bytes.min(max_group_bytes).max(1)))
        .set_max_row_group_row_count(Some(MAX_GROUP_ROWS))
        .set_data_page_size_limit(properties.get("write.parquet.page-size-bytes", MIB as usize)?)
        .set_data_page_row_count_limit(properties.get("write.parquet.page-row-limit", 20_000)?)
        .set_dictionary_page_size_limit(properties.get("write.parquet.dict-size-bytes", 2 * MIB as usize)?)
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_statistics_truncate_length(Mode::statistics_length(modes))
        .set_content_defined_chunking(chunking(&properties)?);
    for leaf in &layout.leaves {
        builder = statistics(&properties, leaf, builder)?;
        builder = bloom_filter(&properties, leaf, builder)?;
    }
    Ok(builder)
}

fn page_version(properties: &Properties<'_>) -> Result<WriterVersion> {
    match properties.text("write.parquet.page-version") {
        None | Some("v1") => Ok(WriterVersion::PARQUET_1_0),
        Some("v2") => Ok(WriterVersion::PARQUET_2_0),
        Some(other) => Err(Error::new(
            ErrorKind::Config,
            format!("table property write.parquet.page-version: expected v1 or v2, found '{other}'"),
        )),
    }
}

fn compression(properties: &Properties<'_>) -> Result<Compression> {
    const CODEC: &str = "write.parquet.compression-codec";
    const LEVEL: &str = "write.parquet.compression-level";
    let level = properties.text(LEVEL).filter(|text| *text != "null");
    let level: Option<i32> = level.map(|_| properties.get(LEVEL, 0)).transpose()?;
    let wrong_level = |error: parquet::errors::ParquetError| {
        Error::new(ErrorKind::Config, format!("table property {LEVEL}: {error}"))
    };
    let codec = properties.text(CODEC).unwrap_or("zstd").to_ascii_lowercase();
    Ok(match codec.as_str() {
        "zstd" => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(ZSTD_LEVEL)).map_err(wrong_level)?),
        "gzip" => Compression::GZIP(match level {
            None => GzipLevel::default(),
            Some(level) => GzipLevel::try_new(level.max(0).unsigned_abs()).map_err(wrong_level)?,
        }),
        "snappy" => Compression::SNAPPY,
        // Parquet's older LZ4 codec has Hadoop's framing and is deprecated; LZ4_RAW is its replacement.
        "lz4" | "lz4_raw" => Compression::LZ4_RAW,
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        "brotli" => {
            return Err(unsupported(format!(
                "table property {CODEC}: brotli is not built in; use zstd, gzip, snappy, lz4 or uncompressed"
            )));
        }
        other => {
            return Err(Error::new(
                ErrorKind::Config,
                format!("table property {CODEC}: expected zstd, gzip, snappy, lz4 or uncompressed, found '{other}'"),
            ));
        }
    })
}

fn chunking(properties: &Properties<'_>) -> Result<Option<CdcOptions>> {
    if !properties.get("write.parquet.content-defined-chunking.enabled", false)? {
        return Ok(None);
    }
    Ok(Some(CdcOptions {
        min_chunk_size: properties.get("write.parquet.content-defined-chunking.min-chunk-size", 256 << 10)?,
        max_chunk_size: properties.get("write.parquet.content-defined-chunking.max-chunk-size", 1 << 20)?,
        norm_level: properties.get("write.parquet.content-defined-chunking.norm-level", 0)?,
    }))
}

fn statistics(
    properties: &Properties<'_>,
    leaf: &Leaf,
    builder: WriterPropertiesBuilder,
) -> Result<WriterPropertiesBuilder> {
    let enabled = properties.get(&format!("write.parquet.stats-enabled.column.{}", leaf.name), true)?;
    let level = if enabled { EnabledStatistics::Page } else { EnabledStatistics::None };
    Ok(builder.set_column_statistics_enabled(leaf.path.clone(), level))
}

/// Distinct values that fit a filter of this size at this rate of false positives (the inverse of Parquet's sizing).
fn distinct_values(max_bytes: u64, fpp: f64) -> u64 {
    let bits = (max_bytes * 8) as f64;
    let per_value = -8.0 / (1.0 - fpp.powf(1.0 / 8.0)).ln();
    ((bits / per_value) as u64).max(1)
}

fn bloom_filter(
    properties: &Properties<'_>,
    leaf: &Leaf,
    builder: WriterPropertiesBuilder,
) -> Result<WriterPropertiesBuilder> {
    let name = &leaf.name;
    if !properties.get(&format!("write.parquet.bloom-filter-enabled.column.{name}"), false)? {
        return Ok(builder);
    }
    let fpp_name = format!("write.parquet.bloom-filter-fpp.column.{name}");
    let fpp: f64 = properties.get(&fpp_name, 0.01)?;
    if !(fpp > 0.0 && fpp < 1.0) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("table property {fpp_name}: expected a number between 0 and 1, found {fpp}"),
        ));
    }
    let max_bytes: u64 = properties.get("write.parquet.bloom-filter-max-bytes", MIB)?;
    let distinct =
        properties.get(&format!("write.parquet.bloom-filter-ndv.column.{name}"), distinct_values(max_bytes, fpp))?;
    Ok(builder
        .set_column_bloom_filter_enabled(leaf.path.clone(), true)
        .set_column_bloom_filter_fpp(leaf.path.clone(), fpp)
        .set_column_bloom_filter_ndv(leaf.path.clone(), distinct.min(distinct_values(max_bytes, fpp))))
}

#[cfg(test)]
mod tests;

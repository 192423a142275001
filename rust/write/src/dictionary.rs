//! Which columns are worth a dictionary: learned from the files that were written.
//!
//! Parquet tries a dictionary for every column and gives up when it has grown too large. For ids, URLs and payloads that
//! attempt is repeated in every row group, hashing every value for nothing. A column whose dictionary did not help goes
//! without for a number of files, then is tried again, for data changes.

use std::sync::atomic::{AtomicU8, Ordering};

use parquet::basic::{Encoding, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;

/// Files that go without a dictionary after one that did not help.
const REST: u8 = 31;

/// For each column, how many files still go without a dictionary.
#[derive(Debug)]
pub(crate) struct Dictionaries(Vec<(ColumnPath, AtomicU8)>);

impl Dictionaries {
    pub(crate) fn new(columns: impl Iterator<Item = ColumnPath>) -> Self {
        Dictionaries(columns.map(|path| (path, AtomicU8::new(0))).collect())
    }

    /// The properties of the next file.
    pub(crate) fn apply(&self, mut properties: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        for (path, rest) in &self.0 {
            if rest.load(Ordering::Relaxed) > 0 {
                properties = properties.set_column_dictionary_enabled(path.clone(), false);
            }
        }
        properties
    }

    /// Judges the dictionaries of a finished file.
    pub(crate) fn learn(&self, file: &ParquetMetaData) {
        for (index, (_, rest)) in self.0.iter().enumerate() {
            let left = rest.load(Ordering::Relaxed);
            if left > 0 {
                rest.store(left - 1, Ordering::Relaxed);
            } else if file.row_groups().iter().any(|group| useless(group.column(index))) {
                rest.store(REST, Ordering::Relaxed);
            }
        }
    }
}

/// Whether the dictionary was given up, or is most of the column: then few values came twice.
fn useless(column: &ColumnChunkMetaData) -> bool {
    let Some(dictionary) = column.dictionary_page_offset() else { return false };
    let plain = |encoding| !matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    let fell_back = column.page_encoding_stats().is_some_and(|pages| {
        let data = |page: PageType| matches!(page, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
        pages.iter().any(|page| data(page.page_type) && plain(page.encoding))
    });
    let size = column.data_page_offset() - dictionary;
    fell_back || size * 2 > column.compressed_size()
}

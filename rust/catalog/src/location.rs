//! Where a table's data files go, as Iceberg's `LocationProviders` has it.

use iceberg::spec::TableMetadata;

/// Bits of the hash that spread the files.
const HASH_BITS: u32 = 20;
/// Directories made of the hash, each this many bits long; the rest is one more.
const DIRECTORY_BITS: usize = 4;
const DIRECTORIES: usize = 3;

/// Names the data files of a table: by partition, or spread by hash where `write.object-storage.enabled` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataLocation {
    base: String,
    spread: Option<Spread>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Spread {
    /// Last two names of the table's location, where the data is outside of it.
    context: Option<String>,
    partitioned_paths: bool,
}

impl DataLocation {
    /// Reads the table's location and properties.
    pub fn new(metadata: &TableMetadata) -> Self {
        Self::from_properties(metadata.location(), |key| metadata.properties().get(key).map(String::as_str))
    }

    fn from_properties<'a>(location: &str, property: impl Fn(&str) -> Option<&'a str>) -> Self {
        let truth =
            |key: &str, default: bool| property(key).map_or(default, |value| value.eq_ignore_ascii_case("true"));
        let spread = truth("write.object-storage.enabled", false);
        let location = location.trim_end_matches('/');
        let base = property("write.data.path")
            .or_else(|| property("write.object-storage.path").filter(|_| spread))
            .or_else(|| property("write.folder-storage.path"))
            .map_or_else(|| format!("{location}/data"), |path| path.trim_end_matches('/').to_owned());
        let spread = spread.then(|| Spread {
            context: (!base.starts_with(location)).then(|| context(location)),
            partitioned_paths: truth("write.object-storage.partitioned-paths", true),
        });
        DataLocation { base, spread }
    }

    /// The full location of a data file. `partition_path` is the partition as `day=2013-01-01/country=de`, already
    /// escaped; none for an unpartitioned table.
    pub fn file(&self, partition_path: Option<&str>, file_name: &str) -> String {
        let base = &self.base;
        let partition = partition_path.filter(|path| !path.is_empty());
        let Some(spread) = &self.spread else {
            return match partition {
                Some(partition) => format!("{base}/{partition}/{file_name}"),
                None => format!("{base}/{file_name}"),
            };
        };
        let name = match partition.filter(|_| spread.partitioned_paths) {
            Some(partition) => format!("{partition}/{file_name}"),
            None => file_name.to_owned(),
        };
        let hash = directories(&name);
        match (&spread.context, spread.partitioned_paths) {
            (Some(context), _) => format!("{base}/{hash}/{context}/{name}"),
            (None, true) => format!("{base}/{hash}/{name}"),
            (None, false) => format!("{base}/{hash}-{name}"),
        }
    }
}

/// `<parent>/<name>` of a location. Directly below a bucket it is the name alone; Java has an empty parent there and so
/// a double slash, which not every store takes.
fn context(location: &str) -> String {
    let path =
        location.split_once("://").map_or(location, |(_, path)| path.split_once('/').map_or("", |(_, path)| path));
    let mut names = path.rsplit('/').filter(|name| !name.is_empty());
    match (names.next(), names.next()) {
        (Some(name), Some(parent)) => format!("{parent}/{name}"),
        (Some(name), None) => name.to_owned(),
        _ => String::new(),
    }
}

/// The lowest 20 bits of the name's hash as `0101/0110/1001/10110010`.
fn directories(name: &str) -> String {
    let bits = murmur3_32(name.as_bytes()) & ((1 << HASH_BITS) - 1);
    let digits = format!("{bits:0width$b}", width = HASH_BITS as usize);
    let mut parts: Vec<&str> = Vec::with_capacity(DIRECTORIES + 1);
    let mut rest = digits.as_str();
    for _ in 0..DIRECTORIES {
        let (directory, behind) = rest.split_at(DIRECTORY_BITS);
        parts.push(directory);
        rest = behind;
    }
    parts.push(rest);
    parts.join("/")
}

/// MurmurHash3 x86 32-bit with seed 0, which Iceberg uses throughout.
fn murmur3_32(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut hash = 0u32;
    let (blocks, tail) = bytes.as_chunks::<4>();
    for block in blocks {
        hash = (hash ^ mix(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = tail.iter().rev().fold(0u32, |rest, byte| rest << 8 | u32::from(*byte));
    hash ^= mix(rest);
    // The algorithm is defined on 32-bit lengths; names are far shorter.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(table: &str, properties: &[(&'static str, &'static str)]) -> DataLocation {
        DataLocation::from_properties(table, |key| {
            properties.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
        })
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Iceberg's specification, appendix B: hash of the string "iceberg"; the others are the algorithm's own vectors.
        assert_eq!(murmur3_32(b"iceberg") as i32, 1_210_000_089);
        assert_eq!(murmur3_32(b""), 0);
        assert_eq!(murmur3_32(b"test"), 0xba6b_d213);
        assert_eq!(murmur3_32(b"Hello, world!"), 0xc036_3e43);
    }

    #[test]
    fn directories_are_those_of_the_other_implementations() {
        for (name, expected) in [
            ("a", "0101/0110/1001/10110010"),
            ("b", "1110/0111/1110/00000011"),
            ("c", "0010/1101/0110/01011111"),
            ("d", "1001/0001/0100/01110011"),
            ("day=2013-01-01/a", "0001/1001/0111/10000111"),
            ("abcdefg/hijk.parquet", "1100/1001/1100/00110101"),
        ] {
            assert_eq!(directories(name), expected, "{name}");
        }
    }

    #[test]
    fn without_spreading_files_lie_in_their_partitions() {
        let plain = location("s3://b/shop/sales", &[]);
        assert_eq!(plain.file(None, "f.parquet"), "s3://b/shop/sales/data/f.parquet");
        assert_eq!(plain.file(Some("day=2013-01-01"), "f.parquet"), "s3://b/shop/sales/data/day=2013-01-01/f.parquet");
        let moved = location(
            "s3://b/t",
            &[("write.folder-storage.path", "s3://c/x/"), ("write.object-storage.path", "s3://no")],
        );
        assert_eq!(moved.file(None, "f"), "s3://c/x/f");
    }

    #[test]
    fn spread_files_have_the_hash_before_their_partition() {
        let on = ("write.object-storage.enabled", "true");
        let spread = location("s3://b/shop/sales", &[on]);
        assert_eq!(spread.file(None, "a"), "s3://b/shop/sales/data/0101/0110/1001/10110010/a");
        let hash = directories("day=2013-01-01/a");
        assert_eq!(spread.file(Some("day=2013-01-01"), "a"), format!("s3://b/shop/sales/data/{hash}/day=2013-01-01/a"));
    }

    #[test]
    fn partition_paths_can_be_left_out() {
        let properties =
            [("write.object-storage.enabled", "TRUE"), ("write.object-storage.partitioned-paths", "false")];
        let spread = location("s3://b/shop/sales", &properties);
        assert_eq!(spread.file(Some("day=2013-01-01"), "a"), "s3://b/shop/sales/data/0101/0110/1001/10110010-a");
    }

    #[test]
    fn data_outside_of_the_table_names_the_table() {
        let on = ("write.object-storage.enabled", "true");
        let outside = location("s3://b/wh/shop/sales", &[on, ("write.object-storage.path", "s3://data")]);
        assert_eq!(outside.file(None, "a"), "s3://data/0101/0110/1001/10110010/shop/sales/a");
        let first =
            location("s3://b/t", &[on, ("write.object-storage.path", "s3://no"), ("write.data.path", "s3://yes")]);
        assert_eq!(first.file(None, "a"), "s3://yes/0101/0110/1001/10110010/t/a");
    }
}

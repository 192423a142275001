//! The summary of an append snapshot: what Iceberg's specification and Java write, and Frazil's own keys.

use std::collections::HashMap;

use frazil_model::{JobName, Ranges, summary as key};
use iceberg::spec::{DataFile, Operation, PartitionSpecRef, SchemaRef, Snapshot, SnapshotSummaryCollector, Summary};

use crate::Append;

/// Names the snapshot that a job's ledger stood on before it was rewound; only in the snapshot of a rewind.
pub(crate) const REWOUND_FROM: &str = "frazil.rewound-from";

/// Total, what adds to it, what takes from it.
const TOTALS: [(&str, &str); 6] = [
    ("total-data-files", "added-data-files"),
    ("total-delete-files", "added-delete-files"),
    ("total-records", "added-records"),
    ("total-files-size", "added-files-size"),
    ("total-position-deletes", "added-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes"),
];

/// What the files add. It does not depend on the table's state, so it is made once for all tries of a commit.
pub(crate) fn added<'a>(
    files: impl IntoIterator<Item = (&'a DataFile, PartitionSpecRef)>,
    schema: &SchemaRef,
    partition_limit: u64,
) -> HashMap<String, String> {
    let mut collector = SnapshotSummaryCollector::default();
    collector.set_partition_summary_limit(partition_limit);
    for (file, spec) in files {
        collector.add_file(file, schema.clone(), spec);
    }
    collector.build()
}

/// The whole summary on top of `parent`.
pub(crate) fn summary(
    append: &Append,
    job: &JobName,
    added: &HashMap<String, String>,
    parent: Option<&Snapshot>,
) -> Summary {
    let mut properties = append.properties.clone();
    properties.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    let number =
        |from: &HashMap<String, String>, name: &str| from.get(name).map_or(Some(0), |text| text.parse::<u64>().ok());
    for (total, adds) in TOTALS {
        // As Java does: a parent that does not say its total leaves this one unsaid, too.
        let before = match parent {
            None => Some(0),
            Some(parent) => parent.summary().additional_properties.get(total).and_then(|text| text.parse::<u64>().ok()),
        };
        match (before, number(added, adds)) {
            (Some(before), Some(more)) => properties.insert(total.to_owned(), (before + more).to_string()),
            _ => properties.remove(total),
        };
    }
    let ranges = |ranges: &Ranges| serde_json::to_string(ranges).expect("ranges are plain data");
    let mut own = vec![
        (key::JOB, job.to_string()),
        (key::COMMIT_ID, append.commit_id.to_string()),
        (key::RANGES, ranges(&append.ranges)),
        (key::RECORDS, append.records.to_string()),
        (key::ROWS, append.rows.to_string()),
        (key::FILTERED, append.filtered.to_string()),
        (key::DEAD_LETTERS, append.dead_letters.to_string()),
    ];
    if !append.skipped.is_empty() {
        own.push((key::SKIPPED, ranges(&append.skipped)));
    }
    properties.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Summary { operation: Operation::Append, additional_properties: properties }
}

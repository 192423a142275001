//! How a commit moves a ledger.

use frazil_model::{Error, ErrorKind, Ledger, OffsetRange, Ranges, Result};

use crate::Append;

/// The offsets that `ranges` and `skipped` cover together. A skipped range lies inside its partition's range or ends
/// where that begins.
///
/// # Errors
/// `Internal` if it does neither, or a range runs backwards.
pub(crate) fn covered(ranges: &Ranges, skipped: &Ranges) -> Result<Ranges> {
    let mut all = ranges.clone();
    for (topic, partition, gap) in skipped.iter() {
        let partitions = all.0.entry(topic.to_owned()).or_default();
        match partitions.get_mut(&partition) {
            None => {
                partitions.insert(partition, gap);
            }
            Some(range) if range.start <= gap.start && gap.end <= range.end => {}
            Some(range) if gap.end == range.start => range.start = gap.start,
            Some(range) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!(
                        "skipped offsets [{}, {}) neither lie in the range [{}, {}) nor end where it begins",
                        gap.start, gap.end, range.start, range.end
                    ),
                )
                .with("topic", topic)
                .with("partition", partition));
            }
        }
    }
    for (topic, partition, OffsetRange { start, end }) in all.iter() {
        if start > end || start < 0 {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("the range [{start}, {end}) runs backwards or below 0"),
            )
            .with("topic", topic)
            .with("partition", partition));
        }
    }
    Ok(all)
}

/// Checks what must hold of an append whatever the table looks like.
///
/// # Errors
/// `Internal`.
pub(crate) fn check_append(append: &Append) -> Result<()> {
    let rows: u64 = append.files.iter().map(|file| file.record_count()).sum();
    if rows != append.rows {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("the round counts {} rows but its data files hold {rows}; nothing was committed", append.rows),
        ));
    }
    Ok(())
}

/// The ledger after a commit. A partition that the ledger does not know enters `first` where its range starts.
///
/// # Errors
/// `Fenced` if a range does not start where the ledger stands.
pub(crate) fn advance(
    ledger: Option<&Ledger>,
    append: &Append,
    snapshot_id: i64,
    sequence_number: i64,
) -> Result<Ledger> {
    let mut next = ledger.cloned().unwrap_or_else(Ledger::empty);
    let covered = covered(&append.ranges, &append.skipped)?;
    next.check(&covered)?;
    for (topic, partition, range) in covered.iter() {
        if next.first.get(topic, partition).is_none() {
            next.first.set(topic, partition, range.start);
        }
        next.next.set(topic, partition, range.end);
    }
    if !append.skipped.is_empty() {
        next.skipped.push(append.skipped.clone());
    }
    next.commit_id = append.commit_id;
    next.snapshot_id = snapshot_id;
    next.sequence_number = sequence_number;
    next.records += append.records;
    next.rows += append.rows;
    next.filtered += append.filtered;
    next.dead_letters += append.dead_letters;
    next.commits += 1;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(partition: i32, start: i64, end: i64) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.extend("t", partition, (start, end).into()).unwrap();
        ranges
    }

    #[test]
    fn skipped_offsets_count_as_covered_in_front_of_a_range_inside_it_and_alone() {
        let skipped = ranges(0, 5, 8);
        assert_eq!(covered(&ranges(0, 8, 9), &skipped).unwrap(), ranges(0, 5, 9));
        assert_eq!(covered(&ranges(0, 5, 9), &skipped).unwrap(), ranges(0, 5, 9));
        assert_eq!(covered(&Ranges::default(), &skipped).unwrap(), skipped);
        assert_eq!(covered(&ranges(0, 9, 10), &skipped).unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_ledger_advances_to_the_ends_and_remembers_where_each_partition_began() {
        let append = |ranges, skipped| Append { ranges, skipped, records: 5, ..Append::default() };
        let one = advance(None, &append(ranges(0, 3, 8), Ranges::default()), 1, 1).unwrap();
        let two = advance(Some(&one), &append(ranges(0, 10, 12), ranges(0, 8, 10)), 2, 2).unwrap();
        assert_eq!((two.first.get("t", 0), two.next.get("t", 0)), (Some(3), Some(12)));
        assert_eq!((two.records, two.commits, two.skipped.len()), (10, 2, 1));
        let late = advance(Some(&two), &append(ranges(0, 8, 10), Ranges::default()), 3, 3).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
    }
}

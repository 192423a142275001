//! The last resort against a record that passed its judge and still fails in a library: halve until it is alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Decodes `rows` in as few parts as it takes; a row that fails alone goes to `refuse` with its reason.
///
/// `decode` must not depend on earlier calls. A panic in it counts as a failure of its rows.
pub(crate) fn isolate<T>(
    rows: &[u32],
    decode: &mut impl FnMut(&[u32]) -> Result<T, String>,
    refuse: &mut impl FnMut(u32, String),
) -> Vec<(Vec<u32>, T)> {
    let mut done = Vec::new();
    let mut open = vec![rows];
    while let Some(rows) = open.pop() {
        if rows.is_empty() {
            continue;
        }
        match guarded(|| decode(rows)) {
            Ok(part) => done.push((rows.to_vec(), part)),
            Err(reason) if rows.len() == 1 => refuse(rows[0], reason),
            Err(_) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                open.push(right);
                open.push(left);
            }
        }
    }
    done
}

/// Runs `action`; a panic becomes an error.
pub(crate) fn guarded<T>(action: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Unwind safe: whatever `action` changed is thrown away by its callers when it fails.
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("the decoding library failed on these bytes: {}", text.unwrap_or("no reason given")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_fail_or_panic_alone_are_refused_and_all_others_are_decoded_in_order() {
        let rows: Vec<u32> = (0..100).collect();
        let mut refused = Vec::new();
        let mut decode = |rows: &[u32]| match rows.iter().find(|row| [0, 41, 42, 99].contains(*row)) {
            Some(42) if rows.len() == 1 => panic!("no such row"),
            Some(row) => Err(format!("row {row}")),
            None => Ok(()),
        };
        let parts = isolate(&rows, &mut decode, &mut |row, reason| refused.push((row, reason)));
        let good: Vec<u32> = parts.into_iter().flat_map(|(rows, ())| rows).collect();
        assert_eq!(good, (1..99).filter(|row| ![41, 42].contains(row)).collect::<Vec<_>>());
        assert_eq!(refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 41, 42, 99]);
        assert!(refused[2].1.contains("no such row"), "{}", refused[2].1);
    }
}

//! Lower and upper bounds of a column: from Parquet's statistics to Iceberg's single values, cut to the metrics mode.

use frazil_catalog::from_iceberg;
use frazil_model::Result;
use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};
use parquet::file::statistics::Statistics;

/// One end of a column chunk's statistics as a value of the column's type. `None` if the bytes are no such value.
pub(crate) fn datum(primitive: &PrimitiveType, statistics: &Statistics, bytes: &[u8]) -> Result<Option<Datum>> {
    // Parquet keeps small decimals as little-endian integers, Iceberg all of them big-endian.
    let reversed: Vec<u8>;
    let bytes = match (primitive, statistics) {
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_) | Statistics::Int64(_)) => {
            reversed = bytes.iter().rev().copied().collect();
            &reversed
        }
        (PrimitiveType::String, _) if std::str::from_utf8(bytes).is_err() => return Ok(None),
        _ => bytes,
    };
    Datum::try_from_bytes(bytes, primitive.clone()).map(Some).map_err(from_iceberg)
}

/// A bound that is not above any value, `width` characters or bytes long at most.
pub(crate) fn truncate_lower(bound: Datum, width: usize) -> Datum {
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::String, PrimitiveLiteral::String(text)) => match text.char_indices().nth(width) {
            Some((end, _)) => Datum::string(&text[..end]),
            None => bound,
        },
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) if bytes.len() > width => {
            Datum::binary(bytes[..width].iter().copied())
        }
        _ => bound,
    }
}

/// A bound that is not below any value, `width` characters or bytes long at most; none if there is no such bound.
pub(crate) fn truncate_upper(bound: Datum, width: usize) -> Option<Datum> {
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::String, PrimitiveLiteral::String(text)) => match text.char_indices().nth(width) {
            Some((end, _)) => next_string(&text[..end]).map(Datum::string),
            None => Some(bound),
        },
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) if bytes.len() > width => {
            next_bytes(&bytes[..width]).map(Datum::binary)
        }
        _ => Some(bound),
    }
}

/// The smallest string of at most this many characters that is above every string with this prefix.
fn next_string(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match u32::from(last) + 1 {
            0xD800 => Some('\u{E000}'),
            code => char::from_u32(code),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn next_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bytes = prefix[..=keep].to_vec();
    bytes[keep] += 1;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_upper_bound_is_above_what_was_cut_off() {
        let upper = |text: &str, width| truncate_upper(Datum::string(text), width);
        assert_eq!(upper("abcdef", 3), Some(Datum::string("abd")));
        assert_eq!(upper("abc", 3), Some(Datum::string("abc")));
        assert_eq!(upper("ab\u{10FFFF}x", 3), Some(Datum::string("ac")));
        assert_eq!(upper("\u{D7FF}x", 1), Some(Datum::string("\u{E000}")));
        assert_eq!(upper("\u{10FFFF}x", 1), None);
        let bytes = |text: &[u8], width| truncate_upper(Datum::binary(text.iter().copied()), width);
        assert_eq!(bytes(&[1, 255, 9], 2), Some(Datum::binary([2])));
        assert_eq!(bytes(&[255, 255, 0], 2), None);
    }

    #[test]
    fn a_truncated_lower_bound_is_a_prefix_in_characters() {
        assert_eq!(truncate_lower(Datum::string("äöüß"), 2), Datum::string("äö"));
        assert_eq!(truncate_lower(Datum::long(7_i64), 2), Datum::long(7_i64));
    }
}

//! Names of partition directories and data files, as Iceberg's own writers form them.

use std::fmt::Write;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Transform, Type};
use uuid::Uuid;

/// `ts_day=2026-11-01`, both sides escaped.
pub(crate) fn partition_field(name: &str, transform: Transform, result: &Type, value: Option<&Literal>) -> String {
    let number = match value {
        Some(Literal::Primitive(PrimitiveLiteral::Int(number))) => Some(*number),
        _ => None,
    };
    let long = match value {
        Some(Literal::Primitive(PrimitiveLiteral::Long(number))) => Some(*number),
        _ => None,
    };
    let decimal = match value {
        Some(Literal::Primitive(PrimitiveLiteral::Int128(number))) => Some(*number),
        _ => None,
    };
    let primitive = result.as_primitive_type();
    // Iceberg's own text of a time panics before 1970, so times and decimals are written here.
    let text = match (transform, number) {
        (Transform::Year, Some(years)) => format!("{:04}", 1970 + i64::from(years)),
        (Transform::Month, Some(months)) => {
            format!("{:04}-{:02}", 1970 + i64::from(months.div_euclid(12)), 1 + months.rem_euclid(12))
        }
        (Transform::Hour, Some(hours)) => format!("{}-{:02}", date(hours.div_euclid(24)), hours.rem_euclid(24)),
        (Transform::Day, Some(days)) => date(days),
        _ => match (primitive, number, long, decimal) {
            (Some(PrimitiveType::Date), Some(days), ..) => date(days),
            (Some(PrimitiveType::Time), _, Some(micros), _) => time(micros, MICROS),
            (Some(PrimitiveType::Timestamp), _, Some(micros), _) => timestamp(micros, MICROS),
            (Some(PrimitiveType::Timestamptz), _, Some(micros), _) => timestamp(micros, MICROS) + "Z",
            (Some(PrimitiveType::TimestampNs), _, Some(nanos), _) => timestamp(nanos, NANOS),
            (Some(PrimitiveType::TimestamptzNs), _, Some(nanos), _) => timestamp(nanos, NANOS) + "Z",
            (Some(PrimitiveType::Decimal { scale, .. }), _, _, Some(unscaled)) => {
                decimal_text(unscaled, *scale as usize)
            }
            _ => transform.to_human_string(result, value),
        },
    };
    format!("{}={}", escape(name), shorten(escape(&text)))
}

/// A directory's name may have 255 bytes, an object's whole key 1,024. Paths are for people: the value itself stands in
/// the manifest, and files have names of their own.
const LONGEST_VALUE: usize = 128;

fn shorten(mut escaped: String) -> String {
    if escaped.len() > LONGEST_VALUE {
        // Not within an escaped byte.
        let end = escaped[..LONGEST_VALUE].rfind('%').filter(|at| at + 3 > LONGEST_VALUE).unwrap_or(LONGEST_VALUE);
        escaped.truncate(end);
    }
    escaped
}

/// Units in a second, and digits behind the point.
type Unit = (i64, usize);
const MICROS: Unit = (1_000_000, 6);
const NANOS: Unit = (1_000_000_000, 9);

/// `10:12:55.038`, without what is zero at the end, as Java's `LocalTime` has it.
fn time(since_midnight: i64, (second, digits): Unit) -> String {
    let (seconds, fraction) = (since_midnight.div_euclid(second), since_midnight.rem_euclid(second));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = format!("{fraction:0digits$}");
    // Java cuts whole groups of three digits, and leaves out seconds that are zero.
    let groups =
        (1..=digits / 3).find(|groups| fraction[groups * 3..].bytes().all(|digit| digit == b'0')).unwrap_or(digits / 3);
    match (seconds, fraction.bytes().all(|digit| digit == b'0')) {
        (0, true) => format!("{hours:02}:{minutes:02}"),
        (_, true) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        (_, false) => format!("{hours:02}:{minutes:02}:{seconds:02}.{}", &fraction[..groups * 3]),
    }
}

fn timestamp(since_1970: i64, unit: Unit) -> String {
    let day = 86_400 * unit.0;
    // A 64-bit count of microseconds is at most 107 million days.
    let days = i32::try_from(since_1970.div_euclid(day)).unwrap_or(i32::MAX);
    format!("{}T{}", date(days), time(since_1970.rem_euclid(day), unit))
}

fn decimal_text(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A day as `2026-11-01` (Howard Hinnant's `civil_from_days`).
fn date(days: i32) -> String {
    let shifted = i64::from(days) + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", day_of_year - (153 * from_march + 2) / 5 + 1)
}

/// As Java's `URLEncoder` does, which Iceberg uses for partition paths.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
    out
}

/// Names of the files of one attempt. Its UUID keeps a retry from ever writing over what an earlier attempt wrote.
#[derive(Debug)]
pub(crate) struct FileNames {
    attempt: Uuid,
    next: u32,
}

impl FileNames {
    pub(crate) fn new() -> Self {
        FileNames { attempt: Uuid::new_v4(), next: 1 }
    }

    pub(crate) fn next(&mut self) -> String {
        let number = self.next;
        self.next += 1;
        format!("00000-0-{}-{number:05}.parquet", self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_do_not_make_names_that_no_storage_takes() {
        assert_eq!(shorten("a".repeat(128)), "a".repeat(128));
        assert_eq!(shorten("a".repeat(300)), "a".repeat(128));
        assert_eq!(shorten(escape(&"日".repeat(30))), escape(&"日".repeat(30))[..126]);
        let word = Literal::string("x".repeat(300));
        let path = partition_field("w", Transform::Identity, &Type::Primitive(PrimitiveType::String), Some(&word));
        assert_eq!(path, format!("w={}", "x".repeat(128)));
    }

    #[test]
    fn partition_paths_are_what_icebergs_java_writes() {
        let text = |transform, primitive: PrimitiveType, value| {
            partition_field("f", transform, &Type::Primitive(primitive), Some(&value))
        };
        assert_eq!(text(Transform::Day, PrimitiveType::Date, Literal::date(20_758)), "f=2026-11-01");
        assert_eq!(text(Transform::Day, PrimitiveType::Date, Literal::date(-1)), "f=1969-12-31");
        assert_eq!(text(Transform::Month, PrimitiveType::Int, Literal::int(682)), "f=2026-11");
        assert_eq!(text(Transform::Month, PrimitiveType::Int, Literal::int(-1)), "f=1969-12");
        assert_eq!(text(Transform::Year, PrimitiveType::Int, Literal::int(56)), "f=2026");
        assert_eq!(text(Transform::Hour, PrimitiveType::Int, Literal::int(20_758 * 24 + 7)), "f=2026-11-01-07");
        assert_eq!(text(Transform::Identity, PrimitiveType::String, Literal::string("a/b c=ä")), "f=a%2Fb+c%3D%C3%A4");
        assert_eq!(text(Transform::Bucket(16), PrimitiveType::Int, Literal::int(3)), "f=3");
        let identity = |primitive, value| text(Transform::Identity, primitive, value);
        assert_eq!(
            identity(PrimitiveType::Timestamp, Literal::timestamp(-86_400_000_001)),
            "f=1969-12-30T23%3A59%3A59.999999"
        );
        assert_eq!(
            identity(PrimitiveType::Timestamptz, Literal::timestamptz(1_500_000)),
            "f=1970-01-01T00%3A00%3A01.500Z"
        );
        assert_eq!(identity(PrimitiveType::Timestamptz, Literal::timestamptz(0)), "f=1970-01-01T00%3A00Z");
        assert_eq!(identity(PrimitiveType::Time, Literal::time(86_399_000_000)), "f=23%3A59%3A59");
        assert_eq!(identity(PrimitiveType::Decimal { precision: 9, scale: 2 }, Literal::decimal(-5)), "f=-0.05");
        identity(PrimitiveType::Timestamp, Literal::timestamp(i64::MIN));
        identity(PrimitiveType::Timestamp, Literal::timestamp(i64::MAX));
        assert_eq!(partition_field("a.b", Transform::Identity, &Type::Primitive(PrimitiveType::Int), None), "a.b=null");
    }

    #[test]
    fn every_attempt_has_names_of_its_own() {
        let (mut one, mut two) = (FileNames::new(), FileNames::new());
        assert_ne!(one.next(), two.next());
        assert!(one.next().ends_with("-00002.parquet"));
    }
}

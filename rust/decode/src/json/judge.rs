//! The judge for JSON: whether a value is exactly one object, by RFC 8259, and whether its members fit the columns.
//!
//! arrow-json is lenient where that would change data (1.5 becomes 1 in a long, "5" a number, a number a timestamp);
//! the judge is not. Members that no column has are checked to be JSON and otherwise ignored.

use arrow::array::types::{Date32Type, Time64MicrosecondType};
use arrow::compute::kernels::cast_utils::{Parser as _, parse_decimal, string_to_datetime};
use arrow::datatypes::Decimal128Type;

use super::text::Text;

/// Objects and arrays within each other.
const DEEPEST: usize = 128;

/// What a value must be.
#[derive(Debug)]
pub(super) enum Node {
    Boolean,
    /// An integer within bounds.
    Integer {
        name: &'static str,
        from: i64,
        to: i64,
    },
    Float,
    Double,
    Decimal(u8, i8),
    Date,
    Time,
    Timestamp,
    /// Text; in an inferred column also numbers and booleans, as their text.
    Text {
        any: bool,
    },
    Uuid,
    /// Hexadecimal digits, as Iceberg writes binary in JSON.
    Hex {
        bytes: Option<usize>,
    },
    List(Box<Member>),
    Map(Box<Member>),
    Struct(Vec<Member>),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) node: Node,
}

/// Says whether `value` is one object with these members.
pub(super) fn judge(members: &[Member], value: &[u8]) -> Result<(), String> {
    let mut text = Text::new(value)?;
    text.space();
    if text.peek() != Some(b'{') {
        return Err(text.found("expected a JSON object"));
    }
    object(members, &mut text, 1)?;
    text.space();
    if text.peek().is_some() { Err(text.found("expected the end behind the object")) } else { Ok(()) }
}

fn object(members: &[Member], text: &mut Text<'_>, depth: usize) -> Result<(), String> {
    // Which required members were seen; structs of more than 128 members are looked through again below.
    let mut seen = 0u128;
    let mut late: Vec<usize> = Vec::new();
    let mut guess = 0;
    entries(text, depth, |text, key| {
        // Producers keep the order of their members, so the one behind the last is likely the next.
        let named = |member: &Member| member.name.as_bytes() == key;
        let at = if members.get(guess).is_some_and(named) { Some(guess) } else { members.iter().position(named) };
        let Some(at) = at else { return any(text, depth + 1) };
        guess = at + 1;
        let member = &members[at];
        let filled = value(member, text, depth)?;
        // The last of several members with one name counts, as in arrow-json.
        if at < 128 {
            seen = if filled { seen | 1 << at } else { seen & !(1 << at) };
        } else {
            late.retain(|other| *other != at);
            if filled {
                late.push(at);
            }
        }
        Ok(())
    })?;
    let lacks = |at: usize| if at < 128 { seen & 1 << at == 0 } else { !late.contains(&at) };
    match members.iter().enumerate().find(|(at, member)| member.required && lacks(*at)) {
        Some((_, member)) => Err(format!("the required field '{}' is missing or null", member.name)),
        None => Ok(()),
    }
}

/// Judges a member's value; whether it is not null.
fn value(member: &Member, text: &mut Text<'_>, depth: usize) -> Result<bool, String> {
    text.space();
    if text.peek() == Some(b'n') {
        text.word("null")?;
        return Ok(false);
    }
    typed(&member.node, text, depth + 1).map_err(|why| within(&member.name, why))?;
    Ok(true)
}

/// Adds a field to what an error inside of it says.
fn within(name: &str, why: String) -> String {
    match why.strip_prefix("field '") {
        Some(rest) => format!("field '{name}.{rest}"),
        None => format!("field '{name}': {why}"),
    }
}

fn typed(node: &Node, text: &mut Text<'_>, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(text.found(&format!("expected at most {DEEPEST} levels")));
    }
    let first = text.peek();
    match node {
        Node::Boolean if first == Some(b't') => text.word("true"),
        Node::Boolean if first == Some(b'f') => text.word("false"),
        Node::Boolean => Err(text.found("expected a boolean")),
        Node::Integer { name, from, to } => {
            let number = text.number().map_err(|_| text.found(&format!("expected {name}")))?;
            match integer(number) {
                Some(value) if (*from..=*to).contains(&value) => Ok(()),
                _ => Err(format!("{number} is not {name}")),
            }
        }
        Node::Float | Node::Double => {
            let number = text.number().map_err(|_| text.found("expected a number"))?;
            let value: f64 = number.parse().map_err(|_| format!("{number} is not a number"))?;
            let most = if matches!(node, Node::Float) { f64::from(f32::MAX) } else { f64::MAX };
            if value.abs() <= most { Ok(()) } else { Err(format!("{number} is too large")) }
        }
        Node::Decimal(precision, scale) => {
            let digits = if first == Some(b'"') {
                text.string()?.ok_or("expected a number without escapes")?
            } else {
                text.number().map_err(|_| text.found("expected a number"))?.as_bytes()
            };
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
            let fraction =
                mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len() as i64);
            let exponent: i64 = exponent.parse().map_err(|_| format!("'{digits}' is not a number"))?;
            if exponent.abs() > 100 || fraction - exponent > i64::from(*scale) {
                return Err(format!("{digits} has more than {scale} digits behind the point"));
            }
            parse_decimal::<Decimal128Type>(digits, *precision, *scale)
                .map(drop)
                .map_err(|_| format!("{digits} is not a decimal of {precision} digits"))
        }
        Node::Date => parsed(text, "a date like 2026-01-31", |date| Date32Type::parse(date).is_some()),
        Node::Time => parsed(text, "a time like 12:30:00.5", |time| Time64MicrosecondType::parse(time).is_some()),
        Node::Timestamp => parsed(text, "a timestamp like 2026-01-31T12:30:00.5Z", |time| {
            string_to_datetime(&chrono_utc(), time).is_ok()
        }),
        Node::Uuid => parsed(text, "a UUID", |uuid| crate::uuid::parse(uuid.as_bytes()).is_some()),
        Node::Hex { bytes } => {
            let what = match bytes {
                Some(bytes) => format!("{} hexadecimal digits", 2 * bytes),
                None => "an even number of hexadecimal digits".to_owned(),
            };
            parsed(text, &what, |hex| {
                hex.bytes().all(|digit| digit.is_ascii_hexdigit())
                    && hex.len() % 2 == 0
                    && bytes.is_none_or(|bytes| hex.len() == 2 * bytes)
            })
        }
        Node::Text { .. } if first == Some(b'"') => text.string().map(drop),
        Node::Text { any: true } if !matches!(first, Some(b'{' | b'[')) => any(text, depth),
        Node::Text { .. } => Err(text.found("expected a string")),
        Node::List(item) if first == Some(b'[') => items(text, |text| match value(item, text, depth)? {
            false if item.required => Err("a required element is null".to_owned()),
            _ => Ok(()),
        }),
        Node::List(_) => Err(text.found("expected an array")),
        Node::Map(item) if first == Some(b'{') => entries(text, depth, |text, _| match value(item, text, depth)? {
            false if item.required => Err("a required value is null".to_owned()),
            _ => Ok(()),
        }),
        Node::Struct(members) if first == Some(b'{') => object(members, text, depth),
        Node::Map(_) | Node::Struct(_) => Err(text.found("expected an object")),
    }
}

fn chrono_utc() -> arrow::array::timezone::Tz {
    crate::convert::UTC.parse().expect("a zone that Arrow knows")
}

fn parsed(text: &mut Text<'_>, what: &str, good: impl FnOnce(&str) -> bool) -> Result<(), String> {
    if text.peek() != Some(b'"') {
        return Err(text.found(&format!("expected a string with {what}")));
    }
    let raw = text.string()?.and_then(|raw| std::str::from_utf8(raw).ok());
    match raw {
        Some(raw) if good(raw) => Ok(()),
        Some(raw) => Err(format!("expected {what}, found '{}'", raw.chars().take(60).collect::<String>())),
        None => Err(format!("expected {what}, found a string with escapes")),
    }
}

/// The value of a number that is an integer, also as 2.0 or 1e3, as far as a double is exact.
fn integer(number: &str) -> Option<i64> {
    number.parse().ok().or_else(|| {
        let value: f64 =
            number.parse().ok().filter(|value: &f64| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0)?;
        number.contains(['.', 'e', 'E']).then_some(value as i64)
    })
}

/// The members of an object: `each` takes the value behind a key. Keys with escapes are passed unescaped.
fn entries(
    text: &mut Text<'_>,
    depth: usize,
    mut each: impl FnMut(&mut Text<'_>, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(text.found(&format!("expected at most {DEEPEST} levels")));
    }
    text.eat(b'{')?;
    text.space();
    if text.peek() == Some(b'}') {
        return text.eat(b'}');
    }
    loop {
        text.space();
        let key = text.key()?;
        text.space();
        text.eat(b':')?;
        each(text, &key)?;
        text.space();
        if text.peek() != Some(b',') {
            return text.eat(b'}');
        }
        text.eat(b',')?;
    }
}

fn items(text: &mut Text<'_>, mut each: impl FnMut(&mut Text<'_>) -> Result<(), String>) -> Result<(), String> {
    text.eat(b'[')?;
    text.space();
    if text.peek() == Some(b']') {
        return text.eat(b']');
    }
    loop {
        each(text)?;
        text.space();
        if text.peek() != Some(b',') {
            return text.eat(b']');
        }
        text.eat(b',')?;
    }
}

/// Any JSON value.
fn any(text: &mut Text<'_>, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(text.found(&format!("expected at most {DEEPEST} levels")));
    }
    text.space();
    match text.peek() {
        Some(b'{') => entries(text, depth, |text, _| any(text, depth + 1)),
        Some(b'[') => items(text, |text| any(text, depth + 1)),
        Some(b'"') => text.string().map(drop),
        Some(b't') => text.word("true"),
        Some(b'f') => text.word("false"),
        Some(b'n') => text.word("null"),
        _ => text.number().map(drop),
    }
}

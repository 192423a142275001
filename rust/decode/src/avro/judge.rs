//! The judge: walks a record's bytes by the writer's schema and says whether they are exactly one value of it that
//! the reader's schema can hold. It builds nothing and allocates nothing for a good record.
//!
//! Every record passes it before its bytes reach arrow-avro, so whether a record is good never depends on its
//! neighbours, and no length, count or index in the bytes is believed before it is checked. Only UTF-8 is left to
//! Arrow, which checks a whole column at once; where that fails, the judge looks again with [`Utf8::Check`].

use super::bytes::{Bytes, Flaw};

type Verdict = Result<(), Box<Flaw>>;

/// Items without bytes (of `array<null>`, say) that one record may have: their count is the only thing that limits them.
pub(super) const FREE_ITEMS: u64 = 65_536;

/// Whether strings are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Utf8 {
    /// Arrow checks them later.
    Later,
    Check,
}

/// What the bytes of a value must be.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Bytes with a length, or a string that the reader skips.
    Bytes,
    Text,
    UuidText,
    /// A varint within bounds: times of day, timestamps that are multiplied by 1000.
    Within {
        name: &'static str,
        from: i64,
        to: i64,
    },
    /// An unscaled value below 10^precision; without a size its length comes first.
    Decimal {
        size: Option<usize>,
        bound: i128,
        precision: u8,
    },
    Fixed(usize),
    /// Symbols, and whether the reader has each.
    Enum(Vec<(String, bool)>),
    Array {
        item: Box<Node>,
        min: usize,
    },
    Map {
        value: Box<Node>,
        min: usize,
        text: bool,
    },
    Record(Vec<(String, Node)>),
    /// Branches; one that the reader cannot take has no node.
    Union(Vec<Result<Node, &'static str>>),
}

impl Node {
    /// The fewest bytes that a value takes.
    pub(super) fn min(&self) -> usize {
        match self {
            Node::Null => 0,
            Node::Float => 4,
            Node::Double => 8,
            Node::Fixed(size) | Node::Decimal { size: Some(size), .. } => *size,
            Node::Record(fields) => fields.iter().fold(0, |sum, (_, node)| sum.saturating_add(node.min())),
            _ => 1,
        }
    }

    /// Whether `body` is exactly one good value.
    pub(super) fn judge(&self, body: &[u8], utf8: Utf8) -> Verdict {
        let mut bytes = Bytes::new(body);
        self.walk(&mut bytes, utf8)?;
        match bytes.left() {
            0 => Ok(()),
            left => Err(bytes.flaw(format!("{left} bytes are left behind the value"))),
        }
    }

    fn walk(&self, bytes: &mut Bytes<'_>, utf8: Utf8) -> Verdict {
        match self {
            Node::Null => Ok(()),
            Node::Boolean => match bytes.take(1)?[0] {
                0 | 1 => Ok(()),
                other => Err(bytes.flaw(format!("expected 0 or 1 for a boolean, found {other}"))),
            },
            Node::Int => bytes.int().map(drop),
            Node::Long => bytes.long().map(drop),
            Node::Float => bytes.take(4).map(drop),
            Node::Double => bytes.take(8).map(drop),
            Node::Bytes => bytes.sized().map(drop),
            Node::Text => text(bytes, utf8),
            Node::UuidText => {
                let text = bytes.sized()?;
                if crate::uuid::parse(text).is_some() { Ok(()) } else { Err(bytes.flaw("the text is not a UUID")) }
            }
            Node::Within { name, from, to } => {
                let value = bytes.long()?;
                if (*from..=*to).contains(&value) {
                    Ok(())
                } else {
                    Err(bytes.flaw(format!("{value} is not a {name}")))
                }
            }
            Node::Decimal { size, bound, precision } => {
                let raw = match size {
                    Some(size) => bytes.take(*size)?,
                    None => bytes.sized()?,
                };
                match unscaled(raw) {
                    Some(value) if -bound < value && value < *bound => Ok(()),
                    Some(_) => Err(bytes.flaw(format!("the decimal has more than {precision} digits"))),
                    None => Err(bytes.flaw("the decimal is empty or larger than 16 bytes")),
                }
            }
            Node::Fixed(size) => bytes.take(*size).map(drop),
            Node::Enum(symbols) => match symbols.get(bytes.index()?) {
                Some((_, true)) => Ok(()),
                Some((symbol, false)) => {
                    Err(bytes.flaw(format!("the reader's enum has no symbol '{symbol}' and no default")))
                }
                None => {
                    Err(bytes.flaw(format!("the enum has {} symbols, and the index lies behind them", symbols.len())))
                }
            },
            Node::Array { item, min } => blocks(bytes, *min, |bytes| item.walk(bytes, utf8)),
            Node::Map { value, min, text: checked } => blocks(bytes, *min, |bytes| {
                text(bytes, if *checked { utf8 } else { Utf8::Later })?;
                value.walk(bytes, utf8)
            }),
            Node::Record(fields) => {
                for (name, node) in fields {
                    if let Err(mut flaw) = node.walk(bytes, utf8) {
                        flaw.within(name);
                        return Err(flaw);
                    }
                }
                Ok(())
            }
            Node::Union(branches) => {
                match branches.get(bytes.index()?) {
                    Some(Ok(node)) => node.walk(bytes, utf8),
                    Some(Err(why)) => Err(bytes.flaw(*why)),
                    None => Err(bytes
                        .flaw(format!("the union has {} branches, and the index lies behind them", branches.len()))),
                }
            }
        }
    }
}

fn text(bytes: &mut Bytes<'_>, utf8: Utf8) -> Verdict {
    let text = bytes.sized()?;
    if utf8 == Utf8::Check && std::str::from_utf8(text).is_err() {
        return Err(bytes.flaw("the text is not valid UTF-8"));
    }
    Ok(())
}

/// The blocks of an array or a map: counts with that many items behind each, up to a count of 0.
fn blocks(bytes: &mut Bytes<'_>, min: usize, mut item: impl FnMut(&mut Bytes<'_>) -> Verdict) -> Verdict {
    loop {
        let count = bytes.long()?;
        if count == 0 {
            return Ok(());
        }
        // A negative count is followed by the block's size, by which a reader may skip it: it must be right.
        let size = if count < 0 { Some(bytes.long()?) } else { None };
        let count = count.unsigned_abs();
        let start = bytes.at();
        if min == 0 {
            bytes.free_items = bytes.free_items.saturating_add(count);
            if bytes.free_items > FREE_ITEMS {
                return Err(bytes.flaw(format!("the record has more than {FREE_ITEMS} items without bytes")));
            }
        } else if count > (bytes.left() / min) as u64 {
            return Err(bytes.flaw(format!("{count} items are announced, but {} bytes are left", bytes.left())));
        }
        for _ in 0..count {
            item(bytes)?;
        }
        if size.is_some_and(|size| usize::try_from(size) != Ok(bytes.at() - start)) {
            return Err(bytes.flaw("the size of a block is wrong"));
        }
    }
}

/// The value of a big-endian two's complement number, if it has one and fits.
fn unscaled(raw: &[u8]) -> Option<i128> {
    let negative = *raw.first()? & 0x80 != 0;
    let fill = if negative { 0xFF } else { 0 };
    let (extra, low) = raw.split_at(raw.len().saturating_sub(16));
    if extra.iter().any(|byte| *byte != fill) || (low[0] & 0x80 != 0) != negative {
        return None;
    }
    let mut all = [fill; 16];
    all[16 - low.len()..].copy_from_slice(low);
    Some(i128::from_be_bytes(all))
}

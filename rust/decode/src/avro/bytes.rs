//! A position in a record's bytes, and what is wrong there.

/// Why a record is bad: the field, the byte, and what was found.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Names of the fields, the innermost first.
    path: Vec<String>,
    at: usize,
    what: String,
}

impl Flaw {
    /// Adds the field around what the flaw names so far.
    pub(super) fn within(&mut self, field: &str) {
        self.path.push(field.to_owned());
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
            write!(f, "field '{}', ", path.join("."))?;
        }
        write!(f, "byte {} of the value: {}", self.at, self.what)
    }
}

/// What is left of a record's bytes.
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
    /// Items without bytes so far.
    pub(super) free_items: u64,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Bytes { all, at: 0, free_items: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.all.len() - self.at
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[cold]
    pub(super) fn flaw(&self, what: impl Into<String>) -> Box<Flaw> {
        Box::new(Flaw { path: Vec::new(), at: self.at, what: what.into() })
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Box<Flaw>> {
        match self.all[self.at..].get(..count) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.flaw(format!("{count} bytes are expected, but {} are left", self.left()))),
        }
    }

    /// A varint of at most `limit` bytes, not yet zigzag.
    #[inline]
    fn varint(&mut self, limit: usize) -> Result<u64, Box<Flaw>> {
        let rest = &self.all[self.at..];
        if let Some(first) = rest.first()
            && *first < 0x80
        {
            self.at += 1;
            return Ok(u64::from(*first));
        }
        let mut value = 0u64;
        for (index, byte) in rest.iter().take(limit).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * index);
            if *byte < 0x80 {
                if index == 9 && *byte > 1 {
                    break;
                }
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.flaw(if rest.len() < limit { "the bytes end within a number" } else { "the number is too long" }))
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Box<Flaw>> {
        let raw = self.varint(10)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, Box<Flaw>> {
        match u32::try_from(self.varint(5)?) {
            Ok(raw) => Ok((raw >> 1) as i32 ^ -((raw & 1) as i32)),
            Err(_) => Err(self.flaw("the number does not fit in an int")),
        }
    }

    /// The index of a symbol or a branch.
    #[inline]
    pub(super) fn index(&mut self) -> Result<usize, Box<Flaw>> {
        let index = self.int()?;
        usize::try_from(index).map_err(|_| self.flaw(format!("the index {index} is negative")))
    }

    /// Bytes behind their length.
    #[inline]
    pub(super) fn sized(&mut self) -> Result<&'a [u8], Box<Flaw>> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.flaw(format!("the length {length} is negative"))),
        }
    }
}

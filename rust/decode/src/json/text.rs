//! A position in JSON text, and its tokens by RFC 8259.

use std::borrow::Cow;

pub(super) struct Text<'a> {
    all: &'a str,
    at: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let all =
            std::str::from_utf8(bytes).map_err(|error| format!("byte {} is not valid UTF-8", error.valid_up_to()))?;
        Ok(Text { all, at: 0 })
    }

    fn bytes(&self) -> &'a [u8] {
        &self.all.as_bytes()[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().first().copied()
    }

    pub(super) fn space(&mut self) {
        self.at += self.bytes().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// A message that says what stands here instead.
    #[cold]
    pub(super) fn found(&self, expected: &str) -> String {
        let rest = self.all.get(self.at..).unwrap_or_default();
        match rest.chars().next() {
            None => format!("{expected}, found the end at byte {}", self.at),
            Some(_) => format!("{expected}, found '{}' at byte {}", rest.chars().take(20).collect::<String>(), self.at),
        }
    }

    pub(super) fn eat(&mut self, wanted: u8) -> Result<(), String> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.found(&format!("expected '{}'", wanted as char)))
        }
    }

    pub(super) fn word(&mut self, wanted: &str) -> Result<(), String> {
        if self.bytes().starts_with(wanted.as_bytes()) {
            self.at += wanted.len();
            Ok(())
        } else {
            Err(self.found("expected a JSON value"))
        }
    }

    pub(super) fn number(&mut self) -> Result<&'a str, String> {
        let start = self.at;
        let bytes = self.bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(end);
        if whole == 0 || whole > 1 && bytes[end] == b'0' {
            return Err(self.found("expected a JSON value"));
        }
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return Err(self.found("expected a JSON number"));
            }
            end += 1 + fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                return Err(self.found("expected a JSON number"));
            }
            end += 1 + sign + exponent;
        }
        self.at += end;
        Ok(&self.all[start..self.at])
    }

    /// A string's bytes between the quotes; `None` if it has escapes (which are checked).
    pub(super) fn string(&mut self) -> Result<Option<&'a [u8]>, String> {
        self.eat(b'"')?;
        let start = self.at;
        let mut plain = true;
        loop {
            let bytes = self.bytes();
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) else {
                self.at = self.all.len();
                return Err(self.found("expected '\"' at the end of a string"));
            };
            self.at += end;
            match bytes[end] {
                b'"' => {
                    let text = &self.all.as_bytes()[start..self.at];
                    self.at += 1;
                    return Ok(plain.then_some(text));
                }
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                _ => return Err(format!("a control character stands unescaped in a string at byte {}", self.at)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match self.unit(0) {
                Some(0xD800..0xDC00) if matches!(self.unit(6), Some(0xDC00..0xE000)) => {
                    self.at += 12;
                    Ok(())
                }
                Some(0xD800..0xE000) | None => Err(format!("expected an escaped character at byte {}", self.at)),
                Some(_) => {
                    self.at += 6;
                    Ok(())
                }
            },
            _ => Err(format!("expected an escaped character at byte {}", self.at)),
        }
    }

    /// The UTF-16 unit of a `\uXXXX` this many bytes ahead.
    fn unit(&self, ahead: usize) -> Option<u16> {
        let bytes = self.bytes().get(ahead..ahead + 6)?;
        let digits = bytes.strip_prefix(b"\\u").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// An object's key, unescaped.
    pub(super) fn key(&mut self) -> Result<Cow<'a, [u8]>, String> {
        let start = self.at;
        match self.string()? {
            Some(plain) => Ok(Cow::Borrowed(plain)),
            None => {
                let text: String =
                    serde_json::from_str(&self.all[start..self.at]).map_err(|error| error.to_string())?;
                Ok(Cow::Owned(text.into_bytes()))
            }
        }
    }
}

//! Escaped characters beyond the basic plane, which arrow-json 58 reads wrongly: in `\ud840\udc00` (U+20000) and above
//! it loses a bit, so that another character comes out. They are written as UTF-8 before it sees them.

use std::borrow::Cow;

/// Length of `\ud840\udc00`.
const PAIR: usize = 12;

/// JSON text that was found good, with each escaped surrogate pair as the character that it stands for.
pub(super) fn without_pairs(value: &[u8]) -> Cow<'_, [u8]> {
    // Nearly all values end here, at the speed of memchr.
    if !value.contains(&b'\\') {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = value.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        match pair(&value[at..]) {
            Some(character) => {
                out.extend_from_slice(&value[copied..at]);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += PAIR;
                copied = at;
            }
            // What is escaped may be a backslash.
            None => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(value);
    }
    out.extend_from_slice(&value[copied..]);
    Cow::Owned(out)
}

fn pair(bytes: &[u8]) -> Option<char> {
    let (high, low) = bytes.get(..PAIR)?.split_at(PAIR / 2);
    char::decode_utf16([unit(high)?, unit(low)?]).next()?.ok().filter(|character| *character > '\u{FFFF}')
}

fn unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escaped_pairs_are_rewritten() {
        let rewritten = |text: &str| String::from_utf8(without_pairs(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(rewritten(r#"{"a":"\ud840\udc00x\uDBFF\uDFFF"}"#), "{\"a\":\"\u{20000}x\u{10FFFF}\"}");
        for same in [r#"{"a":"plain"}"#, r#"{"a":"\u00e9\n\\ud840\\udc00\""}"#, r#"{"a":"\\\\"}"#, "\\"] {
            assert!(matches!(without_pairs(same.as_bytes()), Cow::Borrowed(_)), "{same}");
        }
        assert_eq!(rewritten(r#""\\\ud83d\ude00\\""#), "\"\\\\😀\\\\\"");
    }
}

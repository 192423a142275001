//! UUIDs from text.

/// The bytes of a UUID: 32 hexadecimal digits, with hyphens in the usual places or without any.
pub(crate) fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = match text.len() {
        36 => true,
        32 => false,
        _ => return None,
    };
    let mut bytes = [0u8; 16];
    let mut at = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if hyphens && matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        let digit = |at: usize| (text[at] as char).to_digit(16);
        *byte = (digit(at)? << 4 | digit(at + 1)?) as u8;
        at += 2;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn both_forms_are_read_and_others_are_not() {
        let bytes = parse(b"00112233-4455-6677-8899-aAbBcCdDeEfF").unwrap();
        assert_eq!(parse(b"00112233445566778899aabbccddeeff"), Some(bytes));
        assert_eq!((bytes[0], bytes[4], bytes[15]), (0, 0x44, 0xFF));
        for bad in [
            "",
            "0011223344556677-8899-aabb-ccdd-eeff",
            "0011223g445566778899aabbccddeeff",
            "00112233-4455-6677-8899_aabbccddeeff",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}

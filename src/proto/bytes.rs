//! Numbers out of first bytes.

/// Two bytes at `at`, big-endian.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

/// Three bytes at `at`, big-endian.
pub(crate) fn be24(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// Four bytes at `at`, big-endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Two bytes at `at`, little-endian.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// Four bytes at `at`, little-endian.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// Length of a BER element's content and of its header, definite form only (X.690, section 8.1.3).
pub(crate) fn ber(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [_, short @ 0..=0x7f, ..] => Some((usize::from(*short), 2)),
        [_, 0x81, a, ..] => Some((usize::from(*a), 3)),
        [_, 0x82, a, b, ..] => Some((usize::from(u16::from_be_bytes([*a, *b])), 4)),
        [_, 0x83, a, b, c, ..] => {
            Some((usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?, 5))
        }
        [_, 0x84, a, b, c, d, ..] => {
            Some((usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?, 6))
        }
        _ => None,
    }
}

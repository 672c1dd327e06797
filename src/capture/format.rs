//! What a file is, by its first bytes and never by its name.

/// How many first bytes [`Format::of`] wants to see.
pub(super) const HEAD_BYTES: usize = 24;

/// A compression that is undone while reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// As people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// Classic pcap, in either byte order, with micro- or nanoseconds; and its snap length.
    Pcap { snaplen: u32 },
    /// pcapng.
    Pcapng,
    /// One of these is to be undone first.
    Compressed(Compression),
    /// Nothing that vethwatch reads: what it looks like, and what to do about it.
    Other { looks_like: &'static str, remedy: &'static str },
}

const READS: &str =
    "vethwatch reads pcap and pcapng captures, plain or compressed with gzip or zstd";
const DECOMPRESS: &str = "decompress it first, or pipe it: `… | vethwatch replay -`";
const CONVERT: &str = "convert it first, with `editcap -F pcap OLD NEW`";

/// First bytes of formats that are told apart only to say what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (b"\xfd7zXZ\0", "an xz archive", DECOMPRESS),
    (b"BZh", "a bzip2 archive", DECOMPRESS),
    (b"\x04\x22\x4d\x18", "an lz4 archive", DECOMPRESS),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"snoop\0\0\0", "a snoop capture", CONVERT),
    (b"RTSS", "a Network Monitor capture", CONVERT),
    (b"GMBU", "a Network Monitor capture", CONVERT),
    (b"\x7fELF", "a program", READS),
];

impl Format {
    /// Judges by the first [`HEAD_BYTES`] bytes, or by all where there are fewer.
    pub(super) fn of(head: &[u8]) -> Self {
        let number = |at: usize, swapped: bool| -> u32 {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            let bytes: [u8; 4] = bytes.unwrap_or_default();
            if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        match head {
            [0xd4, 0xc3, 0xb2, 0xa1, ..]
            | [0x4d, 0x3c, 0xb2, 0xa1, ..]
            | [0x34, 0xcd, 0xb2, 0xa1, ..] => Self::Pcap { snaplen: number(16, false) },
            [0xa1, 0xb2, 0xc3, 0xd4, ..]
            | [0xa1, 0xb2, 0x3c, 0x4d, ..]
            | [0xa1, 0xb2, 0xcd, 0x34, ..] => Self::Pcap { snaplen: number(16, true) },
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => Self::Pcapng,
            [0x1f, 0x8b, ..] => Self::Compressed(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Compressed(Compression::Zstd)
            }
            _ => Self::other(head),
        }
    }

    fn other(head: &[u8]) -> Self {
        for (magic, looks_like, remedy) in OTHERS {
            if head.starts_with(magic) {
                return Self::Other { looks_like, remedy };
            }
        }
        let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        let looks_like = match head {
            [] => "nothing",
            _ if head.iter().all(text) => "text",
            _ => "unknown data",
        };
        Self::Other { looks_like, remedy: READS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_formats_apart_by_their_first_bytes() {
        let header = |magic: [u8; 4], snaplen: [u8; 4]| {
            [magic.as_slice(), &[0; 12], &snaplen, &[0; 4]].concat()
        };
        for (case, head, expected) in [
            (
                "little endian, microseconds",
                header([0xd4, 0xc3, 0xb2, 0xa1], 96_u32.to_le_bytes()),
                Format::Pcap { snaplen: 96 },
            ),
            (
                "big endian, nanoseconds",
                header([0xa1, 0xb2, 0x3c, 0x4d], 96_u32.to_be_bytes()),
                Format::Pcap { snaplen: 96 },
            ),
            ("a header cut short", vec![0xd4, 0xc3, 0xb2, 0xa1], Format::Pcap { snaplen: 0 }),
            ("pcapng", b"\x0a\x0d\x0d\x0a".to_vec(), Format::Pcapng),
            ("gzip", b"\x1f\x8b\x08".to_vec(), Format::Compressed(Compression::Gzip)),
            ("zstd", b"\x28\xb5\x2f\xfd".to_vec(), Format::Compressed(Compression::Zstd)),
            (
                "zstd that begins with a skippable frame",
                b"\x5e\x2a\x4d\x18".to_vec(),
                Format::Compressed(Compression::Zstd),
            ),
        ] {
            assert_eq!(Format::of(&head), expected, "{case}");
        }
        for (head, expected) in [
            (b"hello\n".as_slice(), "text"),
            (b"\xfd7zXZ\0\0", "an xz archive"),
            (b"\x00\x01\x02", "unknown data"),
            (b"\xd4\xc3", "unknown data"),
        ] {
            let Format::Other { looks_like, .. } = Format::of(head) else {
                panic!("{head:?} is taken for a capture")
            };
            assert_eq!(looks_like, expected);
        }
    }
}

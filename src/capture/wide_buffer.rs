//! A wider read buffer for libpcap's file reader.
//!
//! libpcap reads through C's stdio, whose buffer is one block of the file system: 4 KiB, so a system
//! call for every two or three packets of full size; and each of its two reads per packet takes the
//! stream's lock. libpcap offers no setting for either; the `FILE` that it hands out takes both.
#![expect(unsafe_code, reason = "buffer and lock can only be set through C's stdio, see `widen`")]

use std::ffi::c_int;

use libc::{_IOFBF, FILE, c_char, setvbuf};
use pcap::{Capture, Offline};

/// Size of the buffer (bytes): it stays in a core's own cache.
const BYTES: usize = 128 << 10;
/// Where it begins (bytes): the kernel copies whole pages to whole pages faster.
const PAGE: usize = 4 << 10;

#[repr(C)]
struct PcapT {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    /// The stream of a capture that was opened from a file; null for a live one.
    fn pcap_file(capture: *mut PcapT) -> *mut FILE;
    /// Who locks a stream (`stdio_ext.h`; glibc and musl have it). Returns who did before.
    fn __fsetlocking(stream: *mut FILE, kind: c_int) -> c_int;
}

/// `FSETLOCKING_BYCALLER` of `stdio_ext.h`: the stream's one user needs no lock.
const LOCKED_BY_CALLER: c_int = 2;

/// An open capture file and the buffer it is read through.
pub(super) struct Buffered {
    // Dropped first: closing the stream is its last use of the buffer.
    capture: Capture<Offline>,
    _buffer: Option<Box<[u8]>>,
}

impl Buffered {
    /// Reads `capture` in pieces of 128 KiB and without a lock. Only for regular files: what a stream
    /// has read ahead is given back to the file when its buffer changes, and a pipe cannot take it back.
    pub(super) fn widen(capture: Capture<Offline>) -> Self {
        let mut buffer = vec![0; BYTES + PAGE].into_boxed_slice();
        let start = buffer.as_ptr().align_offset(PAGE).min(PAGE);
        // SAFETY: the pointer is that of a capture which `capture` keeps open, and libpcap's header
        // declares this signature. The stream is used by nobody else meanwhile.
        let stream = unsafe { pcap_file(capture.as_ptr().cast()) };
        if stream.is_null() {
            return Self { capture, _buffer: None };
        }
        // SAFETY: the stream is open, as above, and stays with this value: one thread at a time reads
        // it, for which `&mut` is needed.
        unsafe { __fsetlocking(stream, LOCKED_BY_CALLER) };
        // SAFETY: the stream is open, as above. The buffer is heap memory of which `BYTES` bytes
        // follow `start`; nothing else touches it, and it lives in the same value as the capture, which is closed before
        // it. glibc (`_IO_new_file_setbuf`) seeks back over what was read ahead and then switches;
        // musl keeps reading the old buffer, a part of the stream, before it turns to the new one.
        let result: c_int = unsafe {
            setvbuf(stream, buffer[start..].as_mut_ptr().cast::<c_char>(), _IOFBF, BYTES)
        };
        Self { capture, _buffer: (result == 0).then_some(buffer) }
    }

    /// As it is, through a block.
    pub(super) const fn plain(capture: Capture<Offline>) -> Self {
        Self { capture, _buffer: None }
    }

    /// The capture.
    pub(super) const fn get(&mut self) -> &mut Capture<Offline> {
        &mut self.capture
    }
}

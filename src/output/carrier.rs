//! Where records go once they are text: straight to a writer, or into a queue that may drop them.

use std::io::{self, Write};
use std::ops::AddAssign;

use crate::record::RecordKind;

/// Records by kind (count).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts([u64; RecordKind::ALL.len()]);

impl Counts {
    /// One more.
    pub const fn add(&mut self, kind: RecordKind) {
        self.0[kind as usize] += 1;
    }

    /// How many of a kind.
    pub const fn of(&self, kind: RecordKind) -> u64 {
        self.0[kind as usize]
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (number, more) in self.0.iter_mut().zip(other.0) {
            *number += more;
        }
    }
}

/// `3 alert, 120 flow`
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        for kind in RecordKind::ALL.into_iter().filter(|kind| self.of(*kind) > 0) {
            write!(f, "{comma}{} {}", self.of(kind), kind.as_str())?;
            comma = ", ";
        }
        Ok(())
    }
}

/// Whole records, as text.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Their text.
    pub bytes: &'a [u8],
    /// What they are. A report that is no record counts as none.
    pub records: Counts,
}

/// Takes records away.
pub trait Carrier: Send {
    /// Takes whole records.
    ///
    /// # Errors
    /// They cannot be written, now and from now on.
    fn carry(&mut self, batch: Batch<'_>) -> io::Result<()>;

    /// Hands on what is held back.
    ///
    /// # Errors
    /// It cannot be written.
    fn flush(&mut self) -> io::Result<()>;

    /// Records dropped so far; `None` where it never drops any.
    fn dropped(&self) -> Option<Counts> {
        None
    }

    /// Bytes and records that a batch of bulk should not exceed (count); `None` where any size is as good.
    fn batch_max(&self) -> Option<[u64; 2]> {
        None
    }
}

impl<W: Write + Send + ?Sized> Carrier for W {
    fn carry(&mut self, batch: Batch<'_>) -> io::Result<()> {
        self.write_all(batch.bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

impl Carrier for Box<dyn Carrier> {
    fn carry(&mut self, batch: Batch<'_>) -> io::Result<()> {
        (**self).carry(batch)
    }

    fn flush(&mut self) -> io::Result<()> {
        Carrier::flush(&mut **self)
    }

    fn dropped(&self) -> Option<Counts> {
        (**self).dropped()
    }

    fn batch_max(&self) -> Option<[u64; 2]> {
        (**self).batch_max()
    }
}

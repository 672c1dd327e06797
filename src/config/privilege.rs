//! What the live modes give up once all is open (`docs/privileges.md`). What the kernel cannot do is
//! said once on standard error, and the rest is done.

use serde::{Deserialize, Serialize};

/// `[privilege]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Drop the capabilities that are not needed any more, from every set.
    pub drop_capabilities: bool,
    /// Confine itself with Landlock: read the folder of `--config`, `/proc` and `/sys`; write in the
    /// folders of `--write` and `--state`; no TCP, no signals to others.
    pub landlock: bool,
    /// Confine itself with a seccomp filter: no programs, no further threads, no memory that becomes
    /// code, no TCP. A call that is not allowed fails with `EPERM`.
    pub seccomp: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { drop_capabilities: true, landlock: true, seccomp: true }
    }
}

//! What a shell's output looks like, line by line.
//!
//! Written from the formats of the programs themselves (coreutils `id` and `ls`, procps `ps`,
//! iproute2, bash, dash, BusyBox ash, cmd.exe, PowerShell) and of the files that an intruder reads
//! first. A sign is a class, never the text itself: alerts name classes only.

use super::commands;

/// A set of kinds of output, each with a name for the evidence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Signs(u32);

macro_rules! signs {
    ($($bit:literal $constant:ident $name:literal),+ $(,)?) => {
        impl Signs {
            $(pub(super) const $constant: Self = Self(1 << $bit);)+
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$constant, $name)),+];
        }
    };
}

signs! {
    0 IDENTITY "user_identity",
    1 ACCOUNTS "account_file",
    2 SECRETS "password_hashes_or_keys",
    3 LISTING "file_listing",
    4 KERNEL "kernel_version",
    5 SHELL_ERROR "shell_error",
    6 BANNER "shell_banner",
    7 PROCESSES "process_list",
    8 INTERFACES "network_interfaces",
    9 SYSTEM "system_release",
    10 RESOURCES "memory_or_disks",
    11 ENVIRONMENT "environment_variables",
    12 CAPABILITIES "capabilities_or_cgroups",
    13 WINDOWS "windows_command_output",
    14 PASTE_MODE "terminal_control",
    15 PROMPT "shell_prompt",
    16 BARE_PROMPT "bare_prompt",
    17 FILE_ERROR "file_error",
    18 UPTIME "uptime_and_load",
    19 CONTAINERS "container_list",
}

impl Signs {
    /// No sign.
    pub(super) const NONE: Self = Self(0);
    /// What only an interactive shell says, whatever is asked.
    const SHELL: Self =
        Self(Self::BANNER.0 | Self::SHELL_ERROR.0 | Self::PASTE_MODE.0 | Self::PROMPT.0);
    const PROMPTS: Self = Self(Self::PROMPT.0 | Self::BARE_PROMPT.0);

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Kinds of command output in it, prompts not counted.
    pub(super) const fn outputs(self) -> Self {
        Self(self.0 & !Self::PROMPTS.0 & !Self::PASTE_MODE.0)
    }

    /// The part that only an interactive shell says.
    pub(super) const fn shell_only(self) -> Self {
        Self(self.0 & Self::SHELL.0)
    }

    /// Kinds in it (count).
    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Their names, in a fixed order.
    pub(super) fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(sign, _)| self.has(*sign)).map(|(_, name)| *name).collect()
    }
}

/// The sign in one whole line of output (control sequences removed, no line end), if it has one.
pub(super) fn of_line(line: &[u8]) -> Signs {
    let [first, ..] = line else { return Signs::default() };
    let found = match first {
        b'u' if line.starts_with(b"uid=") && is_identity(line) => Some(Signs::IDENTITY),
        b'-' | b'd' | b'l' | b'c' | b'b' | b's' | b'p' if is_listing(line) => Some(Signs::LISTING),
        b'-' if line.starts_with(b"-----BEGIN ") && has(line, b"PRIVATE KEY") => {
            Some(Signs::SECRETS)
        }
        b'L' | b'D' if is_kernel(line) => Some(Signs::KERNEL),
        _ => None,
    };
    found
        .or_else(|| is_accounts(line).then_some(Signs::ACCOUNTS))
        .or_else(|| is_hashes(line).then_some(Signs::SECRETS))
        .or_else(|| of_error(line))
        .or_else(|| of_table(line))
        .unwrap_or_default()
}

/// `uid=33(www-data) gid=33(www-data) …`; BusyBox leaves names out where there are none.
fn is_identity(line: &[u8]) -> bool {
    line.get(4).is_some_and(u8::is_ascii_digit) && has(line, b" gid=")
}

/// `drwxr-xr-x 2 root root 40 …` as `ls -l` writes it.
fn is_listing(line: &[u8]) -> bool {
    let Some(mode) = line.get(1..10) else { return false };
    if !mode.iter().all(|byte| b"rwxsStT-".contains(byte)) {
        return false;
    }
    let rest = match line.get(10) {
        Some(b'.' | b'+' | b'@') => line.get(11..),
        _ => line.get(10..),
    };
    let Some(rest) = rest else { return false };
    let links = rest.trim_ascii_start();
    let digits = links.iter().take_while(|byte| byte.is_ascii_digit()).count();
    links.len() < rest.len() && digits > 0 && links.get(digits) == Some(&b' ')
}

/// `Linux version 6.1.0 …`, `Linux host 6.1.0 #1 SMP … GNU/Linux`, `Darwin Kernel Version …`.
fn is_kernel(line: &[u8]) -> bool {
    line.starts_with(b"Linux version ")
        || line.starts_with(b"Darwin Kernel Version ")
        || line.starts_with(b"Linux ")
            && (has(line, b" SMP") || has(line, b"GNU/Linux") || has(line, b" x86_64"))
}

/// `name:x:0:0:comment:/home:/shell`, seven fields (passwd(5)).
fn is_accounts(line: &[u8]) -> bool {
    let mut fields = line.split(|byte| *byte == b':');
    let (Some(name), Some(word), Some(user), Some(group)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    is_account_name(name)
        && matches!(word, b"x" | b"*" | b"!" | b"")
        && is_number(user)
        && is_number(group)
        && fields.nth(1).is_some_and(|home| home.starts_with(b"/"))
}

/// `name:$6$…:19000:…` or `name:*:19000:0:99999:7:::` (shadow(5)).
fn is_hashes(line: &[u8]) -> bool {
    let mut fields = line.split(|byte| *byte == b':');
    let (Some(name), Some(hash), Some(changed)) = (fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    is_account_name(name)
        && (hash.starts_with(b"$") || matches!(hash, b"*" | b"!" | b"!!" | b"!*"))
        && is_number(changed)
        && fields.next().is_some_and(is_number)
        && fields.next().is_some_and(is_number)
}

fn is_account_name(name: &[u8]) -> bool {
    (1..=32).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
}

fn is_number(field: &[u8]) -> bool {
    !field.is_empty() && field.len() <= 10 && field.iter().all(u8::is_ascii_digit)
}

/// What shells and programs say when a command fails, and what a shell says of its own accord.
fn of_error(line: &[u8]) -> Option<Signs> {
    const SHELLS: [&[u8]; 9] = [
        b"bash: ",
        b"sh: ",
        b"/bin/sh: ",
        b"/bin/bash: ",
        b"-bash: ",
        b"-sh: ",
        b"zsh: ",
        b"ash: ",
        b"dash: ",
    ];
    let shell = SHELLS.iter().any(|name| line.starts_with(name));
    if shell || line.starts_with(b"rbash: ") {
        const BANNERS: [&[u8]; 4] = [
            b"no job control in this shell",
            b"cannot set terminal process group",
            b"job control turned off",
            b"can't find job control",
        ];
        if BANNERS.iter().any(|text| has(line, text)) {
            return Some(Signs::BANNER);
        }
        return Some(Signs::SHELL_ERROR);
    }
    if line.starts_with(b"Microsoft Windows [Version ")
        || line.starts_with(b"BusyBox v") && has(line, b"built-in shell")
        || line == b"Windows PowerShell"
    {
        return Some(Signs::BANNER);
    }
    if line.ends_with(b": not found") || line.ends_with(b": command not found") {
        return Some(Signs::SHELL_ERROR);
    }
    let failed = line.ends_with(b": No such file or directory")
        || line.ends_with(b": Permission denied")
        || line.ends_with(b": Operation not permitted")
        || line.ends_with(b": Is a directory");
    let program = line.split(|byte| *byte == b':').next().unwrap_or_default();
    (failed && commands::is_verb(program)).then_some(Signs::FILE_ERROR)
}

/// Headings and first words of what intruders ask for first.
fn of_table(line: &[u8]) -> Option<Signs> {
    const STARTS: &[(&[u8], Signs)] = &[
        (b"PRETTY_NAME=\"", Signs::SYSTEM),
        (b"Distributor ID:", Signs::SYSTEM),
        (b"MemTotal: ", Signs::RESOURCES),
        (b"Filesystem  ", Signs::RESOURCES),
        (b"overlay on / ", Signs::RESOURCES),
        (b"PATH=/", Signs::ENVIRONMENT),
        (b"HOSTNAME=", Signs::ENVIRONMENT),
        (b"HOME=/", Signs::ENVIRONMENT),
        (b"PWD=/", Signs::ENVIRONMENT),
        (b"OLDPWD=/", Signs::ENVIRONMENT),
        (b"KUBERNETES_", Signs::ENVIRONMENT),
        (b"SHELL=/", Signs::ENVIRONMENT),
        (b"Disk /dev/", Signs::RESOURCES),
        (b"CONTAINER ID   IMAGE ", Signs::CONTAINERS),
        (b"CapInh:\t", Signs::CAPABILITIES),
        (b"CapEff:\t", Signs::CAPABILITIES),
        (b"Current: =", Signs::CAPABILITIES),
        (b"0::/", Signs::CAPABILITIES),
        (b"1: lo: <LOOPBACK", Signs::INTERFACES),
        (b"Kernel IP routing table", Signs::INTERFACES),
        (b"Kernel Interface table", Signs::INTERFACES),
        (b"Active Internet connections", Signs::INTERFACES),
        (b"default via ", Signs::INTERFACES),
        (b"default dev ", Signs::INTERFACES),
        (b" Volume in drive ", Signs::WINDOWS),
        (b" Directory of ", Signs::WINDOWS),
        (b"Windows IP Configuration", Signs::WINDOWS),
        (b"Host Name:  ", Signs::WINDOWS),
        (b"Image Name   ", Signs::WINDOWS),
        (b"nt authority\\", Signs::WINDOWS),
        (b"User accounts for \\\\", Signs::WINDOWS),
    ];
    if let Some((_, sign)) = STARTS.iter().find(|(start, _)| line.starts_with(start)) {
        return Some(*sign);
    }
    let trimmed = line.trim_ascii_start();
    if has(line, b" PID") && (has(line, b"USER") || has(line, b"UID"))
        || trimmed.starts_with(b"PID ") && (has(line, b" TTY") || has(line, b" COMMAND"))
        || trimmed.starts_with(b"PID   USER")
    {
        return Some(Signs::PROCESSES);
    }
    if trimmed.starts_with(b"total  ") && has(line, b"used") && has(line, b"free") {
        return Some(Signs::RESOURCES);
    }
    if has(line, b": flags=") && has(line, b" mtu ") || trimmed.starts_with(b"inet 127.0.0.1") {
        return Some(Signs::INTERFACES);
    }
    if line.starts_with(b"'") && has(line, b"' is not recognized as ") {
        return Some(Signs::WINDOWS);
    }
    if has(line, b" up ") && has(line, b",  load average: ") {
        return Some(Signs::UPTIME);
    }
    let (head, tail) = (line.split(|byte| *byte == b':').next()?, has(line, b":name=systemd:/"));
    (tail && is_number(head)).then_some(Signs::CAPABILITIES)
}

/// The prompt that an unfinished line is, if it is one.
pub(super) fn of_prompt(tail: &[u8]) -> Signs {
    if tail.len() > 80 || tail.is_empty() {
        return Signs::default();
    }
    let windows = |path: &[u8]| {
        matches!(path, [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic())
            && path.trim_ascii_end().ends_with(b">")
    };
    if windows(tail) || tail.strip_prefix(b"PS ").is_some_and(windows) {
        return Signs::PROMPT;
    }
    match tail {
        b"$ " | b"# " | b"$" | b"#" => Signs::BARE_PROMPT,
        b">>> " => Signs::BARE_PROMPT,
        _ if tail.ends_with(b"$ ")
            || tail.ends_with(b"# ")
            || tail.ends_with(b"% ") && tail.contains(&b'@') =>
        {
            let body = &tail[..tail.len() - 2];
            let shell = body.starts_with(b"bash-") || body.starts_with(b"sh-");
            let place = body.iter().any(|byte| b"@~/:[".contains(byte));
            if shell || place { Signs::PROMPT } else { Signs::BARE_PROMPT }
        }
        _ => Signs::default(),
    }
}

fn has(line: &[u8], text: &[u8]) -> bool {
    line.len() >= text.len() && line.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_lines_are_told_by_their_form() {
        for (line, expected) in [
            ("uid=0(root) gid=0(root) groups=0(root)", Signs::IDENTITY),
            ("uid=1000 gid=1000 groups=1000", Signs::IDENTITY),
            ("root:x:0:0:root:/root:/bin/bash", Signs::ACCOUNTS),
            ("_apt:x:42:65534::/nonexistent:/usr/sbin/nologin", Signs::ACCOUNTS),
            ("root:*:19676:0:99999:7:::", Signs::SECRETS),
            ("app:$6$salt$hash:19676:0:99999:7:::", Signs::SECRETS),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", Signs::SECRETS),
            ("drwxr-xr-x  21 root root  4096 Nov 24 02:27 .", Signs::LISTING),
            ("-rw-r--r--. 1 app app 0 Jan  1 00:00 x", Signs::LISTING),
            ("crw-rw-rw- 1 root root 1, 3 Jan  1 00:00 null", Signs::LISTING),
            ("Linux web-0 6.1.0-18-amd64 #1 SMP Debian 6.1.76-1 x86_64 GNU/Linux", Signs::KERNEL),
            ("Linux version 6.18.44 (builder@x) (gcc 12)", Signs::KERNEL),
            ("sh: 1: lsof: not found", Signs::SHELL_ERROR),
            ("bash: line 3: foo: command not found", Signs::SHELL_ERROR),
            ("bash: no job control in this shell", Signs::BANNER),
            ("bash: cannot set terminal process group (-1): Not a tty", Signs::BANNER),
            ("/bin/sh: 0: can't access tty; job control turned off", Signs::BANNER),
            ("BusyBox v1.36.1 (2024-06-10 07:11:47 UTC) built-in shell (ash)", Signs::BANNER),
            ("Microsoft Windows [Version 10.0.17763.107]", Signs::BANNER),
            ("cat: /root/.ssh/id_rsa: No such file or directory", Signs::FILE_ERROR),
            ("USER         PID %CPU %MEM    VSZ   RSS TTY      STAT", Signs::PROCESSES),
            ("    PID TTY          TIME CMD", Signs::PROCESSES),
            ("PID   USER     TIME  COMMAND", Signs::PROCESSES),
            ("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue", Signs::INTERFACES),
            ("eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500", Signs::INTERFACES),
            ("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"", Signs::SYSTEM),
            ("MemTotal:       24683656 kB", Signs::RESOURCES),
            ("               total        used        free      shared", Signs::RESOURCES),
            ("PATH=/usr/local/sbin:/usr/bin", Signs::ENVIRONMENT),
            ("CapEff:\t000001fffeffffff", Signs::CAPABILITIES),
            ("9:name=systemd:/", Signs::CAPABILITIES),
            (" Volume in drive C has no label.", Signs::WINDOWS),
            ("'foo' is not recognized as an internal or external command,", Signs::WINDOWS),
            (" 19:02:02 up  9:31,  0 user,  load average: 1.44, 1.07, 1.09", Signs::UPTIME),
            ("CONTAINER ID   IMAGE     COMMAND", Signs::CONTAINERS),
            ("Disk /dev/sda: 20 GiB, 21474836480 bytes, 41943040 sectors", Signs::RESOURCES),
            ("level=info msg=\"load average: 1.2\" up=1", Signs::default()),
            ("HTTP/1.1 200 OK", Signs::default()),
            ("250-PIPELINING", Signs::default()),
            ("total 80", Signs::default()),
            ("d------- is not a listing", Signs::default()),
            ("12:30:00:45:67:89:ab", Signs::default()),
            ("level=info msg=\"uid=0 gid=0\"", Signs::default()),
            ("drwxr-xr-x          4,096 2024/06/01 12:00:00 pub", Signs::default()),
            ("config.yaml: No such file or directory", Signs::default()),
            ("", Signs::default()),
        ] {
            assert_eq!(of_line(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn prompts_are_told_by_their_form() {
        for (tail, expected) in [
            ("root@web-0:/# ", Signs::PROMPT),
            ("[app@host ~]$ ", Signs::PROMPT),
            ("bash-5.1$ ", Signs::PROMPT),
            ("sh-4.4# ", Signs::PROMPT),
            ("/ # ", Signs::PROMPT),
            ("C:\\Windows\\system32>", Signs::PROMPT),
            ("PS C:\\Users\\app> ", Signs::PROMPT),
            ("$ ", Signs::BARE_PROMPT),
            ("# ", Signs::BARE_PROMPT),
            (">>> ", Signs::BARE_PROMPT),
            ("ftp> ", Signs::default()),
            ("password: ", Signs::default()),
            ("it costs 5 $", Signs::default()),
        ] {
            assert_eq!(of_prompt(tail.as_bytes()), expected, "{tail}");
        }
    }
}

//! What the driver of a shell types: commands, told from English and from other protocols' words.

/// How much a typed line looks like a command for a shell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    /// Hardly anything else.
    Strong(u8),
    /// May be an English word, or a command of another program too.
    Weak(u8),
}

impl Verb {
    /// The verb itself.
    pub(super) fn name(index: u8) -> &'static str {
        VERBS.get(usize::from(index)).map_or("", |(name, _)| name)
    }
}

/// What the first word of a command takes after it.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// Options and paths; a plain word after it makes it English.
    Paths,
    /// Anything: not an English word.
    Any,
    /// A word of other protocols and of English: weak by itself.
    Common,
}
use Takes::{Any, Common, Paths};

/// First words of commands, sorted, at most 128.
const VERBS: &[(&str, Takes)] = &[
    ("apk", Any),
    ("apt", Any),
    ("apt-get", Any),
    ("arp", Paths),
    ("awk", Any),
    ("base64", Any),
    ("bash", Any),
    ("capsh", Any),
    ("cat", Paths),
    ("cd", Any),
    ("chmod", Any),
    ("chown", Any),
    ("clear", Common),
    ("cp", Any),
    ("crontab", Any),
    ("curl", Any),
    ("date", Common),
    ("dd", Any),
    ("df", Paths),
    ("dig", Any),
    ("dir", Paths),
    ("dmesg", Paths),
    ("docker", Any),
    ("du", Paths),
    ("echo", Common),
    ("env", Paths),
    ("exit", Common),
    ("export", Any),
    ("file", Common),
    ("find", Paths),
    ("free", Paths),
    ("gcc", Any),
    ("getent", Any),
    ("git", Any),
    ("grep", Any),
    ("groups", Paths),
    ("head", Paths),
    ("help", Common),
    ("history", Common),
    ("host", Common),
    ("hostname", Paths),
    ("id", Paths),
    ("ifconfig", Paths),
    ("ip", Any),
    ("ipconfig", Paths),
    ("iptables", Any),
    ("kill", Common),
    ("kubectl", Any),
    ("last", Common),
    ("ls", Any),
    ("lsblk", Paths),
    ("lscpu", Paths),
    ("lsof", Paths),
    ("mkdir", Any),
    ("more", Common),
    ("mount", Paths),
    ("mv", Any),
    ("nc", Any),
    ("ncat", Any),
    ("net", Common),
    ("netstat", Paths),
    ("nmap", Any),
    ("nohup", Any),
    ("nproc", Paths),
    ("nsenter", Any),
    ("nslookup", Any),
    ("openssl", Any),
    ("passwd", Paths),
    ("perl", Any),
    ("pip", Any),
    ("pkill", Any),
    ("powershell", Any),
    ("printenv", Any),
    ("printf", Common),
    ("ps", Any),
    ("pwd", Paths),
    ("python", Any),
    ("python2", Any),
    ("python3", Any),
    ("rm", Any),
    ("route", Common),
    ("scp", Any),
    ("script", Paths),
    ("sed", Any),
    ("service", Common),
    ("set", Common),
    ("sh", Any),
    ("sha256sum", Any),
    ("sleep", Common),
    ("socat", Any),
    ("sort", Common),
    ("ss", Paths),
    ("ssh", Any),
    ("stat", Common),
    ("strings", Common),
    ("stty", Any),
    ("su", Any),
    ("sudo", Any),
    ("systemctl", Any),
    ("systeminfo", Paths),
    ("tail", Paths),
    ("tar", Any),
    ("tasklist", Paths),
    ("tee", Common),
    ("test", Common),
    ("top", Common),
    ("touch", Any),
    ("tty", Paths),
    ("type", Common),
    ("umask", Paths),
    ("uname", Paths),
    ("unset", Any),
    ("unshare", Any),
    ("uptime", Paths),
    ("vim", Any),
    ("w", Common),
    ("wget", Any),
    ("which", Any),
    ("who", Common),
    ("whoami", Paths),
    ("wmic", Any),
    ("xxd", Any),
];

/// The verb of a program's name.
fn verb(program: &[u8]) -> Option<(u8, Takes)> {
    let index = VERBS.binary_search_by(|(name, _)| name.as_bytes().cmp(program)).ok()?;
    Some((u8::try_from(index).ok()?, VERBS[index].1))
}

/// The command that a typed line starts with, if it is one that shells know.
pub(super) fn of_command(line: &[u8]) -> Option<Verb> {
    let line = line.trim_ascii();
    let is_end = |byte: &u8| b" \t;|&<>()".contains(byte);
    let end = line.iter().position(is_end).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let program = match word.iter().rposition(|byte| *byte == b'/') {
        Some(slash) if word.starts_with(b"/") => &word[slash + 1..],
        _ => word,
    };
    if program.len() > 12 {
        return None;
    }
    let (index, takes) = verb(program)?;
    let rest = rest.trim_ascii_start();
    let plain = !rest.is_empty() && !is_shell_argument(rest);
    Some(match takes {
        Any => Verb::Strong(index),
        Paths if !plain => Verb::Strong(index),
        Common if !plain && !rest.is_empty() => Verb::Strong(index),
        Paths | Common => Verb::Weak(index),
    })
}

/// Options, paths, operators, variables: what follows a command and no English word.
fn is_shell_argument(rest: &[u8]) -> bool {
    rest.first().is_some_and(|byte| b"-/.~$*>|;&\"'<({\\=+".contains(byte))
        || rest.iter().any(|byte| b"/|>&=$;*".contains(byte))
        || rest.windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_alphanumeric())
}

/// Whether a program of this name is a command that shells know.
pub(super) fn is_verb(program: &[u8]) -> bool {
    verb(program).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_verbs_is_sorted_and_fits_its_bits() {
        assert!(VERBS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(VERBS.len() <= 128);
    }

    #[test]
    fn commands_are_told_from_english_and_from_other_protocols() {
        let strong = |line: &str| matches!(of_command(line.as_bytes()), Some(Verb::Strong(_)));
        let weak = |line: &str| matches!(of_command(line.as_bytes()), Some(Verb::Weak(_)));
        for line in [
            "id",
            "whoami",
            "uname -a",
            "ls -la /tmp",
            "ls",
            "cat /etc/passwd",
            "/bin/cat /etc/shadow",
            "cd /tmp;id",
            "ps aux",
            "ip addr",
            "find / -perm -4000 2>/dev/null",
            "echo $PATH",
            "python3 -c 'import pty'",
            "which curl wget python3 gcc",
            "free -m",
            "sudo -l",
            "stty raw -echo",
        ] {
            assert!(strong(line), "{line}");
        }
        for line in ["who", "date", "find me later", "cat is out", "set", "exit", "free beer"] {
            assert!(weak(line), "{line}");
        }
        for line in [
            "",
            "GET / HTTP/1.1",
            "250 OK",
            "get key",
            "ruok",
            "hello there",
            "PING",
            "SSH-2.0-x",
            "idle",
            "lsx",
        ] {
            assert_eq!(of_command(line.as_bytes()), None, "{line}");
        }
    }
}

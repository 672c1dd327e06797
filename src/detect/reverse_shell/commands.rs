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
    /// Words too: not an English word. Numbers are another protocol's, and many words a sentence.
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
    ("bash", Paths),
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
    ("dig", Paths),
    ("dir", Paths),
    ("dmesg", Paths),
    ("docker", Any),
    ("du", Paths),
    ("echo", Common),
    ("env", Paths),
    ("exit", Common),
    ("export", Paths),
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
    ("perl", Paths),
    ("pip", Paths),
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
    ("tar", Paths),
    ("tasklist", Paths),
    ("tee", Common),
    ("test", Common),
    ("top", Common),
    ("touch", Paths),
    ("tty", Paths),
    ("type", Common),
    ("umask", Paths),
    ("uname", Paths),
    ("unset", Paths),
    ("unshare", Any),
    ("uptime", Paths),
    ("vim", Paths),
    ("w", Common),
    ("wget", Any),
    ("which", Paths),
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
    let typed = !line.ends_with(b"?") && is_typed(rest);
    Some(match takes {
        Any | Paths if rest.is_empty() || typed => Verb::Strong(index),
        Common if typed => Verb::Strong(index),
        Any if words(rest).count() <= 2 && !words(rest).all(is_figures) => Verb::Strong(index),
        Any | Paths | Common => Verb::Weak(index),
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn is_figures(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_digit() || b"-:,".contains(byte))
}

/// Options, paths, operators, variables, names of programs: what follows a command, and an English
/// word hardly ever.
fn is_typed(rest: &[u8]) -> bool {
    let lone = words(rest).count() == 1;
    let named = |pair: &[u8]| pair[0] == b'.' && pair[1].is_ascii_alphanumeric();
    words(rest).any(|word| {
        const STARTS: [&[u8]; 11] =
            [b"/", b"./", b"../", b"~/", b"$", b"*", b">", b"2>", b"&>", b"'{", b"\"$"];
        STARTS.iter().any(|start| word.starts_with(start))
            || matches!(word, [b'-', next, ..] if next.is_ascii_alphanumeric() || *next == b'-')
            || matches!(word, b"." | b".." | b"~" | b"&&" | b"&")
            || word.contains(&b'|')
            || word.windows(2).any(|pair| matches!(pair, b"&&" | b">/" | b"=/" | b"$("))
            || word.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0)
            || word.split(|byte| *byte == b';').skip(1).any(is_verb)
            || lone && (word.contains(&b'/') || word.windows(2).any(named))
            || matches!(verb(word), Some((_, Any)))
    })
}

/// Commands that say nothing when all is well: what always answers is no shell.
pub(super) fn is_silent(verb: u8) -> bool {
    const SILENT: [&str; 11] =
        ["cd", "chmod", "chown", "cp", "export", "mkdir", "mv", "rm", "touch", "umask", "unset"];
    SILENT.contains(&Verb::name(verb))
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
            "find / -perm -4000 2>/dev/null",
            "echo $PATH",
            "python3 -c 'import pty'",
            "which curl wget python3 gcc",
            "free -m",
            "sudo -l",
            "stty raw -echo",
            "ip addr",
            "docker ps",
            "test -w / && echo w",
            "cat hosts.allow",
            "which python3",
            "echo $(id)",
            "nc 203.0.113.9 4444",
        ] {
            assert!(strong(line), "{line}");
        }
        for line in [
            "who",
            "date",
            "find me later",
            "cat is out",
            "set",
            "exit",
            "free beer",
            "which one is better?",
            "ps I love you",
            "top ten songs",
            "touch the sky",
            "sort of nice; thanks",
            "find me a red/blue dress",
            "id 4711",
            "ls 5",
            "date 2026-11-24",
        ] {
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

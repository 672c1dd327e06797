//! What the driver of a shell types: commands, told from English and from other protocols' words.

use super::verbs::Takes::{Any, Common, Keyword, Paths};
use super::verbs::{VERBS, verb};

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
    if takes == Keyword {
        return is_construct(program, rest).then_some(Verb::Strong(index));
    }
    let typed = !line.ends_with(b"?") && is_typed(rest);
    Some(match takes {
        Any | Paths if rest.is_empty() || typed => Verb::Strong(index),
        Common if typed => Verb::Strong(index),
        Any if words(rest).count() <= 2
            && !words(rest).all(is_figures)
            && !words(rest).any(is_function_word) =>
        {
            Verb::Strong(index)
        }
        Any | Paths | Common | Keyword => Verb::Weak(index),
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// `for … do`, `if … then`, `[ … ]`: a shell reads on until it has the rest.
fn is_construct(keyword: &[u8], rest: &[u8]) -> bool {
    let then = |word: &[u8]| {
        let mut parts = rest.split(|byte| *byte == b';').skip(1);
        parts.any(|part| words(part).next() == Some(word))
    };
    // A test's outcome is for something: `[ OK ] started` is a log's line.
    let tests = |close: &[u8]| {
        let mut after = words(rest).skip_while(|word| *word != close).skip(1);
        matches!(after.next(), Some(b"&&" | b"||"))
    };
    match keyword {
        _ if words(rest).any(is_function_word) => false,
        b"[" => tests(b"]"),
        b"[[" => tests(b"]]"),
        b"if" => then(b"then"),
        _ => then(b"do"),
    }
}

/// A word that makes a sentence of two others, and is hardly a program's argument.
fn is_function_word(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 24] = [
        b"and", b"are", b"been", b"can", b"does", b"has", b"have", b"I", b"is", b"it", b"me",
        b"my", b"not", b"of", b"our", b"that", b"the", b"them", b"this", b"us", b"was", b"will",
        b"you", b"your",
    ];
    WORDS.contains(&word)
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
        const STARTS: [&[u8]; 14] = [
            b"/", b"./", b"../", b"~/", b"$", b"*", b">", b"2>", b"&>", b"'{", b"\"$", b"<<",
            b"</", b"<(",
        ];
        STARTS.iter().any(|start| word.starts_with(start))
            || matches!(word, [b'-', next, ..] if next.is_ascii_alphanumeric() || *next == b'-')
            || matches!(word, b"." | b".." | b"~" | b"&&" | b"&")
            || word.contains(&b'|')
            || word.windows(2).any(|pair| matches!(pair, b"&&" | b">/" | b"=/" | b"$("))
            || word.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0)
            || word.split(|byte| *byte == b';').skip(1).any(is_verb)
            || lone && (word.contains(&b'/') || word.windows(2).any(named))
    }) || !rest.is_empty() && words(rest).all(|word| matches!(verb(word), Some((_, Any))))
}

/// Commands that say nothing when all is well: what always answers is no shell.
pub(super) fn is_silent(verb: u8) -> bool {
    const SILENT: [&str; 17] = [
        "cd", "chattr", "chmod", "chown", "cp", "export", "ln", "mkdir", "mkfifo", "mv", "rm",
        "setcap", "touch", "umask", "unset", "useradd", "usermod",
    ];
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
            "for i in /home/*; do echo $i; done",
            "while true;do id; sleep 5; done",
            "if [ -f /x ]; then cat /x; fi",
            "[ -f /.dockerenv ] && echo yes",
            "[[ -w / ]] && echo w",
            "w;uptime;who",
            "cat<<<hello",
            "tar cz /etc/ssh 2>/dev/null | base64 -w0 | head -c 200",
            "mysql -u root -e \"show tables\" shop",
            "mysqldump shop users",
            "psql -c \"select 1\"",
            "redis-cli keys \"*\"",
            "gcloud auth list",
            "node -e \"console.log(1)\"",
            "php -v",
            "ping -c1 db",
            "crictl ps",
            "fdisk -l",
            "useradd bob",
            "sudo apt update",
            "base64 -d x",
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
            "w",
            "last",
            "ping",
            "node 7",
            "mysql is down",
            "docker keeps crashing on me",
            "which git branch was it again",
            "ruby red",
            "test 1 2 3",
            "echo hello",
            "exec",
            "kill",
            "stat",
            "less is more",
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
            "for you",
            "for example -v; thanks",
            "if you use -x it works; then tell me",
            "if $x == 1",
            "while 1",
            "[root] hello",
            "[ok]",
            "[ OK ] started nginx",
            "mntr",
            "show info",
            "vcl.list",
            "select 1;",
        ] {
            assert_eq!(of_command(line.as_bytes()), None, "{line}");
        }
    }
}

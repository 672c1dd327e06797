//! First words of what is typed into shells, what each takes, and sets of them.

/// What the first word of a command takes after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Takes {
    /// Options and paths; a plain word after it makes it English.
    Paths,
    /// Words too: not an English word. Numbers are another protocol's, and many words a sentence.
    Any,
    /// A word of other protocols and of English: weak by itself.
    Common,
    /// A keyword of the shell: a command only with the rest of its construct on the same line.
    Keyword,
}
use Takes::{Any, Common, Keyword, Paths};

/// Verbs, by place in the table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Verbs([u64; 4]);

impl Verbs {
    pub(super) const NONE: Self = Self([0; 4]);

    pub(super) fn of(verb: u8) -> Self {
        let mut verbs = Self::NONE;
        verbs.add(verb);
        verbs
    }

    pub(super) fn add(&mut self, verb: u8) {
        if let Some(word) = self.0.get_mut(usize::from(verb / 64)) {
            *word |= 1 << (verb % 64);
        }
    }

    /// Adds them all. True if some were not there.
    pub(super) fn add_all(&mut self, others: Self) -> bool {
        let before = *self;
        for (word, more) in self.0.iter_mut().zip(others.0) {
            *word |= more;
        }
        *self != before
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// How many there are.
    pub(super) fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How many of them are keywords of the shell's own language.
    pub(super) fn constructs(self) -> u32 {
        const KEYWORDS: [&[u8]; 6] = [b"[", b"[[", b"for", b"if", b"until", b"while"];
        let has = |place: u8| self.count_beside(Self::of(place)) < self.count();
        KEYWORDS.iter().filter(|word| verb(word).is_some_and(|(place, _)| has(place))).count()
            as u32
    }

    /// How many there are that are not among `others`.
    pub(super) fn count_beside(self, others: Self) -> u32 {
        self.0.iter().zip(others.0).map(|(word, others)| (word & !others).count_ones()).sum()
    }
}

/// First words of commands, sorted, at most 256.
pub(super) const VERBS: &[(&str, Takes)] = &[
    ("[", Keyword),
    ("[[", Keyword),
    ("adduser", Any),
    ("apk", Any),
    ("apt", Any),
    ("apt-get", Any),
    ("arp", Paths),
    ("ash", Any),
    ("awk", Any),
    ("aws", Any),
    ("az", Any),
    ("base64", Any),
    ("basename", Any),
    ("bash", Paths),
    ("busybox", Any),
    ("capsh", Any),
    ("cat", Paths),
    ("cd", Any),
    ("certutil", Any),
    ("chattr", Any),
    ("chmod", Any),
    ("chown", Any),
    ("chpasswd", Any),
    ("chroot", Any),
    ("clear", Common),
    ("cmp", Common),
    ("cp", Any),
    ("crictl", Any),
    ("crontab", Any),
    ("ctr", Any),
    ("curl", Any),
    ("cut", Common),
    ("dash", Any),
    ("date", Common),
    ("dd", Any),
    ("debugfs", Any),
    ("deluser", Any),
    ("df", Paths),
    ("diff", Common),
    ("dig", Paths),
    ("dir", Paths),
    ("dirname", Any),
    ("dmesg", Paths),
    ("dnf", Any),
    ("docker", Any),
    ("dpkg", Any),
    ("du", Paths),
    ("echo", Common),
    ("egrep", Any),
    ("env", Paths),
    ("eval", Common),
    ("exec", Common),
    ("exit", Common),
    ("export", Paths),
    ("fdisk", Any),
    ("file", Common),
    ("find", Paths),
    ("for", Keyword),
    ("free", Paths),
    ("ftp", Any),
    ("gcc", Any),
    ("gcloud", Any),
    ("getcap", Any),
    ("getent", Any),
    ("git", Any),
    ("gpg", Paths),
    ("grep", Any),
    ("groupadd", Any),
    ("groups", Paths),
    ("gunzip", Any),
    ("gzip", Any),
    ("head", Paths),
    ("helm", Common),
    ("help", Common),
    ("history", Common),
    ("host", Common),
    ("hostname", Paths),
    ("hostnamectl", Any),
    ("id", Paths),
    ("if", Keyword),
    ("ifconfig", Paths),
    ("insmod", Any),
    ("ip", Any),
    ("ipconfig", Paths),
    ("iptables", Any),
    ("java", Paths),
    ("journalctl", Any),
    ("kill", Common),
    ("kubectl", Any),
    ("last", Common),
    ("ldd", Any),
    ("less", Common),
    ("ln", Any),
    ("losetup", Any),
    ("ls", Any),
    ("lsattr", Any),
    ("lsblk", Paths),
    ("lscpu", Paths),
    ("lsmod", Any),
    ("lsof", Paths),
    ("lspci", Any),
    ("md5sum", Any),
    ("mkdir", Any),
    ("mkfifo", Any),
    ("mknod", Any),
    ("mktemp", Any),
    ("modprobe", Any),
    ("mongo", Any),
    ("mongodump", Any),
    ("mongoexport", Any),
    ("mongosh", Any),
    ("more", Common),
    ("mount", Paths),
    ("mv", Any),
    ("mysql", Any),
    ("mysqladmin", Any),
    ("mysqldump", Any),
    ("nano", Paths),
    ("nc", Any),
    ("ncat", Any),
    ("net", Common),
    ("netstat", Paths),
    ("nmap", Any),
    ("node", Common),
    ("nohup", Any),
    ("npm", Any),
    ("nproc", Paths),
    ("nsenter", Any),
    ("nslookup", Any),
    ("openssl", Any),
    ("passwd", Paths),
    ("perl", Paths),
    ("pgrep", Any),
    ("php", Paths),
    ("ping", Common),
    ("pip", Any),
    ("pip3", Any),
    ("pkill", Any),
    ("podman", Any),
    ("powershell", Any),
    ("printenv", Any),
    ("printf", Common),
    ("ps", Any),
    ("psql", Any),
    ("pwd", Paths),
    ("python", Any),
    ("python2", Any),
    ("python3", Any),
    ("readlink", Any),
    ("realpath", Any),
    ("redis-cli", Any),
    ("rm", Any),
    ("route", Common),
    ("rpm", Any),
    ("rsync", Any),
    ("ruby", Common),
    ("runc", Any),
    ("scp", Any),
    ("script", Paths),
    ("sed", Any),
    ("service", Common),
    ("set", Common),
    ("setcap", Any),
    ("sh", Any),
    ("sha1sum", Any),
    ("sha256sum", Any),
    ("sleep", Common),
    ("socat", Any),
    ("sort", Common),
    ("sqlite3", Any),
    ("ss", Paths),
    ("ssh", Any),
    ("stat", Common),
    ("strings", Common),
    ("stty", Any),
    ("su", Any),
    ("sudo", Any),
    ("sysctl", Any),
    ("systemctl", Any),
    ("systeminfo", Paths),
    ("tail", Paths),
    ("tar", Paths),
    ("tasklist", Paths),
    ("tcpdump", Any),
    ("tee", Common),
    ("telnet", Any),
    ("test", Common),
    ("top", Common),
    ("touch", Paths),
    ("traceroute", Any),
    ("tty", Paths),
    ("type", Common),
    ("umask", Paths),
    ("uname", Paths),
    ("uniq", Any),
    ("unset", Paths),
    ("unshare", Any),
    ("until", Keyword),
    ("unzip", Any),
    ("uptime", Paths),
    ("useradd", Any),
    ("userdel", Any),
    ("usermod", Any),
    ("vi", Paths),
    ("vim", Paths),
    ("w", Common),
    ("wc", Any),
    ("wget", Any),
    ("which", Paths),
    ("while", Keyword),
    ("who", Common),
    ("whoami", Paths),
    ("wmic", Any),
    ("xargs", Any),
    ("xxd", Any),
    ("yum", Any),
    ("zcat", Any),
    ("zip", Any),
    ("zsh", Any),
];

/// Where the verbs begin that start with each letter; before them stand those that start with none.
const INITIALS: [usize; 27] = {
    let mut initials = [VERBS.len(); 27];
    let mut place = VERBS.len();
    while place > 0 {
        place -= 1;
        let letter = VERBS[place].0.as_bytes()[0];
        if letter.is_ascii_lowercase() {
            initials[(letter - b'a') as usize] = place;
        }
    }
    let mut letter = 26;
    while letter > 0 {
        letter -= 1;
        if initials[letter] == VERBS.len() {
            initials[letter] = initials[letter + 1];
        }
    }
    initials
};

/// The verb of a program's name.
pub(super) fn verb(program: &[u8]) -> Option<(u8, Takes)> {
    let (from, to) = match program.first()? {
        letter @ b'a'..=b'z' => {
            let letter = usize::from(letter - b'a');
            (*INITIALS.get(letter)?, *INITIALS.get(letter + 1)?)
        }
        _ => (0, INITIALS[0]),
    };
    let named = VERBS.get(from..to)?.iter().position(|(name, _)| name.as_bytes() == program)?;
    let place = from + named;
    Some((u8::try_from(place).ok()?, VERBS.get(place)?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_verbs_is_sorted_and_fits_its_bits() {
        assert!(VERBS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(VERBS.len() <= 256);
        for (place, (name, takes)) in VERBS.iter().enumerate() {
            assert_eq!(verb(name.as_bytes()), Some((place as u8, *takes)), "{name}");
        }
        assert_eq!([verb(b""), verb(b"zz"), verb(b"Id"), verb(b"]"), verb(b"xxx")], [None; 5]);
    }
}

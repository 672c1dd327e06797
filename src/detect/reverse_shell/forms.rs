//! What lines are told apart by: hashes, and the form of an answer.

/// Of an answer's first word, what its form is told by (bytes).
const FORM: usize = 32;

/// The latest `N` different hashes. Wide enough that two that differ hardly ever meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latest<const N: usize> {
    hashes: [u32; N],
    noted: usize,
}

impl<const N: usize> Latest<N> {
    pub(super) const NONE: Self = Self { hashes: [0; N], noted: 0 };

    /// Notes a hash, in place of the oldest where there is no room. True if it was not there.
    pub(super) fn note(&mut self, hash: u32) -> bool {
        if self.hashes.iter().take(self.noted).any(|known| *known == hash) {
            return false;
        }
        if let Some(place) = self.hashes.get_mut(self.noted % N) {
            *place = hash;
        }
        self.noted = self.noted.wrapping_add(1);
        true
    }
}

/// One word of base64 or hexadecimal digits, long enough to be neither a command nor a name.
pub(super) fn is_encoded(line: &[u8]) -> bool {
    line.len() >= 8
        && line.len().is_multiple_of(4)
        && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte))
        && (line.ends_with(b"=") || line.iter().any(u8::is_ascii_digit))
}

/// The form of an answer's line, as a hash: its first word with figures made equal, or the sign that
/// it starts with. `{"a":1}` and `{"b":2}` are of one form, `OK` and `OK 7` too.
pub(super) fn form(line: &[u8]) -> u32 {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let (mut hash, mut figure) = (FNV_BASIS, false);
    for (place, byte) in line.iter().copied().take(FORM).enumerate() {
        if place > 0 && !is_word(byte) {
            break;
        }
        if byte.is_ascii_digit() {
            if !figure {
                hash = hash_on(hash, b'0');
            }
            figure = true;
        } else {
            hash = hash_on(hash, byte);
            figure = false;
        }
    }
    hash
}

const FNV_BASIS: u32 = 0x811c_9dc5;

const fn hash_on(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// FNV-1a: only to tell lines apart, never a key.
pub(super) fn hash(line: &[u8]) -> u32 {
    line.iter().fold(FNV_BASIS, |hash, byte| hash_on(hash, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_words_are_of_different_forms() {
        let words = b"alpha bravo config secret deploy nginx orders report server token vendor worker \
            static public cache lib data main index views models utils tests docs build dist setup \
            requirements manage wsgi celery redis mysql backup dump import all: remember [main] db: \
            /app /srv /root ~ a b c hello root www-data web-0 Disk NAME CONTAINER Tables_in_shop";
        let mut forms: Vec<u32> =
            words.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).map(form).collect();
        let count = forms.len();
        forms.sort_unstable();
        forms.dedup();
        assert_eq!(forms.len(), count);
        assert_eq!(form(b"{\"a\":1}"), form(b"{\"b\":2}"));
        assert_eq!(form(b"OK"), form(b"OK 7"));
        assert_eq!(form(b"rev1 x"), form(b"rev22 y"));
    }

    #[test]
    fn the_latest_are_told_apart_and_bounded() {
        let mut latest = Latest::<4>::NONE;
        assert!((0..4).all(|hash| latest.note(hash)));
        assert!((0..4).all(|hash| !latest.note(hash)));
        assert!(latest.note(4) && !latest.note(4), "in place of the oldest");
        assert!(latest.note(0), "which is forgotten");
        assert!(!latest.note(3));
    }
}

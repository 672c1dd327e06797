//! Text for people: wrapped to a width, harmless on a terminal, with numbers they can read.

use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use textwrap::core::Word;
use unicode_width::UnicodeWidthStr;

use crate::detect::Severity;
use crate::output::Look;
use crate::time::Timestamp;

/// Lines are no longer than this on any terminal (columns): longer ones are hard to read.
const WIDTH_MAX: usize = 120;
/// Lines are at least this long (columns): below, wrapping gives up.
const WIDTH_MIN: usize = 40;
/// Longest text that came from outside (characters); the rest is cut.
const TEXT_MAX: usize = 2_000;

/// Where the labels of a finding begin, and where their text does (columns).
const LABEL: usize = 4;
const LABELLED: usize = 14;

/// The report so far.
pub(super) struct Page {
    look: Look,
    text: String,
}

impl Page {
    pub(super) fn new(look: Look) -> Self {
        let width = look.width.clamp(WIDTH_MIN, WIDTH_MAX);
        Self { look: Look { width, ..look }, text: String::new() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Columns of a line.
    pub(super) const fn width(&self) -> usize {
        self.look.width
    }

    /// A line that begins a part; empty line in front of all but the first.
    pub(super) fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for line in wrapped(&harmless(text), self.look.width) {
            let line = self.styled(Style::new().bold(), &line);
            self.line(&line);
        }
    }

    /// Wrapped text from the left edge.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.hanging("", 0, text);
    }

    /// `  - text`
    pub(super) fn item(&mut self, text: &str) {
        self.hanging("  - ", 4, text);
    }

    /// A remark under a table, a little in from the edge.
    pub(super) fn remark(&mut self, text: &str) {
        self.hanging("  ", 4, text);
    }

    /// `    why       text`, one line for each text at least.
    pub(super) fn labelled(&mut self, label: &str, texts: impl IntoIterator<Item = String>) {
        let name = self.styled(Style::new().dimmed(), label);
        let padding = " ".repeat(LABELLED.saturating_sub(LABEL + label.len()));
        let mut first = format!("{}{name}{padding}", " ".repeat(LABEL));
        for text in texts {
            self.hanging(&first, LABELLED, &text);
            first = " ".repeat(LABELLED);
        }
    }

    /// A badge with the severity, and a bold title after it.
    pub(super) fn titled(&mut self, severity: Severity, title: &str) {
        let badge = severity.as_str().to_uppercase();
        let indent = Self::BADGE;
        let padding = " ".repeat(indent.saturating_sub(badge.len()));
        let mut prefix = format!("{}{padding}", self.styled(style(severity), &badge));
        for line in wrapped(&harmless(title), self.look.width - indent) {
            let line = format!("{prefix}{}", self.styled(Style::new().bold(), &line));
            self.line(&line);
            prefix = " ".repeat(indent);
        }
    }

    /// Columns of a badge with its space: what belongs to a title is indented so.
    pub(super) const BADGE: usize = 10;

    /// Wrapped text under a title.
    pub(super) fn under_title(&mut self, text: &str) {
        self.hanging(&" ".repeat(Self::BADGE), Self::BADGE, text);
    }

    /// A line as it is. The caller has made it harmless and fitting.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Text in a style, if the page has colour.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        if self.look.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// `first` before the first line, spaces before the others.
    fn hanging(&mut self, first: &str, indent: usize, text: &str) {
        let mut prefix = first.to_owned();
        for line in wrapped(&harmless(text), self.look.width - indent) {
            let line = format!("{prefix}{line}");
            self.line(&line);
            prefix = " ".repeat(indent);
        }
    }
}

/// Lines of at most `width` columns, broken at spaces and behind the commas of a list without them;
/// within words only where one is longer than a line (not at hyphens: dates and names have them).
fn wrapped(text: &str, width: usize) -> Vec<std::borrow::Cow<'_, str>> {
    let options = textwrap::Options::new(width)
        .word_separator(textwrap::WordSeparator::Custom(words))
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
}

fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    Box::new(textwrap::WordSeparator::AsciiSpace.find_words(line).flat_map(|word| {
        // Not inside numbers: 1,024.
        let is_list = !word.contains(|character: char| character.is_ascii_digit());
        let mut items: Vec<Word<'_>> = match is_list {
            true => word.word.split_inclusive(',').map(Word::from).collect(),
            false => vec![word],
        };
        if let Some(last) = items.last_mut() {
            last.whitespace = word.whitespace;
        }
        items
    }))
}

/// Colour and weight of a severity.
pub(super) fn style(severity: Severity) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(anstyle::Color::Ansi(colour)));
    match severity {
        Severity::Critical => Style::new()
            .bold()
            .fg_color(Some(anstyle::Color::Ansi(AnsiColor::BrightWhite)))
            .bg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))),
        Severity::High => colour(AnsiColor::Red).bold(),
        Severity::Medium => colour(AnsiColor::Yellow).bold(),
        Severity::Low => colour(AnsiColor::Cyan),
        Severity::Info => Style::new().dimmed(),
    }
}

/// Text from outside as a terminal may show it: control characters (a terminal obeys them),
/// characters that turn the direction of writing or take no place (they hide what is there), and
/// line ends are written as escapes; what is over [`TEXT_MAX`] is cut.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (place, character) in text.chars().enumerate() {
        if place == TEXT_MAX {
            out.push_str("...");
            break;
        }
        match character {
            '\0'..='\x1f' | '\x7f' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            shown => out.push(shown),
        }
    }
    out
}

/// At most `width` columns, cut with `...` in the middle: names differ at both ends.
pub(super) fn fitted(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(3);
    let take = |characters: &mut dyn Iterator<Item = char>, room: usize| -> Vec<char> {
        let mut used = 0;
        let mut kept = Vec::new();
        for character in characters {
            used += unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
            if used > room {
                break;
            }
            kept.push(character);
        }
        kept
    };
    let head = take(&mut text.chars(), room.div_ceil(2));
    let tail = take(&mut text.chars().rev(), room / 2);
    head.into_iter().chain("...".chars()).chain(tail.into_iter().rev()).collect()
}

/// `48,120`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.2 MB`: powers of ten.
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.95 || unit == "TB" {
            return match unit {
                "B" => format!("{number} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1_000.0;
    }
    String::new()
}

/// `12 min 30 s`: the two largest units.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{} ms", duration.as_millis());
    }
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = parts.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = parts[largest];
    let mut out = format!("{} {unit}", seconds / size);
    if let Some((smaller, unit)) = parts.get(largest + 1)
        && seconds % size / smaller > 0
    {
        let _ = write!(out, " {} {unit}", seconds % size / smaller);
    }
    out
}

/// `2026-03-01 12:00:03 to 12:00:07 UTC`
pub(super) fn span(first: Timestamp, last: Timestamp) -> String {
    let [first, last] = [first, last].map(|at| at.to_string());
    let [(day, time), (last_day, last_time)] =
        [&first, &last].map(|text| text[..19].split_once('T').unwrap_or_default());
    match (day == last_day, time == last_time) {
        (true, true) => format!("{day} {time} UTC"),
        (true, false) => format!("{day} {time} to {last_time} UTC"),
        _ => format!("{day} {time} to {last_day} {last_time} UTC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, counted, sized) in [
            (0, "0", "0 B"),
            (999, "999", "999 B"),
            (1_000, "1,000", "1.0 kB"),
            (999_949, "999,949", "999.9 kB"),
            (999_950, "999,950", "1.0 MB"),
            (1_234_567, "1,234,567", "1.2 MB"),
            (u64::MAX, "18,446,744,073,709,551,615", "18446744.1 TB"),
        ] {
            assert_eq!((count(number).as_str(), bytes(number).as_str()), (counted, sized));
        }
        for (millis, text) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (1_000, "1 s"),
            (750_000, "12 min 30 s"),
            (3_600_000, "1 h"),
            (90_061_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        for (case, text, expected) in [
            ("colour", "\u{1b}[31mred", "\\x1b[31mred"),
            ("a window's title", "a\u{1b}]0;x\u{7}b", "a\\x1b]0;x\\x07b"),
            ("control sequences of one byte", "\u{9b}2J", "\\u{9b}2J"),
            ("an overwritten line", "evil\rgood\u{8}", "evil\\x0dgood\\x08"),
            ("a forged line", "a\nCRITICAL", "a\\x0aCRITICAL"),
            ("turned direction", "a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("nothing visible", "a\u{200b}\u{feff}\u{e0041}b", "a\\u{200b}\\u{feff}\\u{e0041}b"),
            ("other scripts stay", "b\u{fc}cher.\u{4f8b}", "b\u{fc}cher.\u{4f8b}"),
        ] {
            assert_eq!(harmless(text), expected, "{case}");
        }
        assert_eq!(harmless(&"x".repeat(5_000)).len(), TEXT_MAX + 3);
    }

    #[test]
    fn long_names_are_cut_in_the_middle() {
        for (text, width, expected) in [
            ("shop/web-0", 10, "shop/web-0"),
            ("shop/checkout-7f9c4-abcde", 15, "shop/c...-abcde"),
            ("\u{4f8b}\u{4f8b}\u{4f8b}\u{4f8b}\u{4f8b}", 8, "\u{4f8b}...\u{4f8b}"),
            ("abc", 2, "..."),
        ] {
            assert_eq!(fitted(text, width), expected);
        }
    }
}

//! What the clients say: JSON like that of a busy feed, the same for all contestants.
//!
//! A message has a time and some entries. An entry has a number that counts, an author, a price that moves, and a
//! text. The texts are made of invented words. Their frequencies follow Zipf's law, and each word has a few favourite
//! followers. So the messages have about as much in common as recorded chats. The parts of the bytes that remain, in
//! one window of 32 KiB:
//!
//! | messages | level 1 | level 6 (the default of zlib) |
//! |---|---|---|
//! | 128 bytes, 1 KiB, 4 KiB of this feed | 0.34, 0.33, 0.32 | 0.28, 0.23, 0.21 |
//! | 140 bytes, 1 KiB of JSON with texts of recorded chats | 0.36, 0.32 | 0.32, 0.26 |

use std::fmt::Write;
use std::ops::Range;

use fastrand::Rng;

/// The start of every message.
const STAMP_KEY: &str = "{\"at\":";

/// The digits of a stamp: a number of fixed length that is valid JSON.
const STAMP_DIGITS: usize = 16;

/// The first stamp, in microseconds: a time of these years, as feeds have it.
const STAMP_BASE: u64 = 1_790_000_000_000_000;

/// About the length of an entry.
const ENTRY_BYTES: Range<usize> = 60..100;

/// The number of different words.
const WORDS: usize = 2_000;

/// The authors have the names of the words with these ranks.
const AUTHORS: Range<usize> = 700..800;

/// The number of words that often follow a word.
const FOLLOWERS: usize = 3;

/// The length of the text that the entries quote. A passage comes again when no window has it any more.
const BOOK_BYTES: usize = 1 << 20;

/// The messages of one load generator, the same in every run.
pub(crate) struct Feed {
    random: Rng,
    book: String,
    /// Where the next text begins in the book.
    place: usize,
    authors: Vec<String>,
    id: u64,
    cents: u64,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let mut random = Rng::with_seed(7);
        Self {
            book: write_book(&mut random),
            place: 0,
            random,
            authors: AUTHORS.map(word).collect(),
            id: 1_000_000,
            cents: 10_000,
        }
    }

    /// Returns a message of `bytes` bytes, or a longer one if an entry does not fit. `stamp`: when the message
    /// is sent, in microseconds since some start.
    pub(crate) fn message(&mut self, stamp: u64, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + ENTRY_BYTES.end);
        let _ = write!(text, "{STAMP_KEY}{},\"entries\":[", STAMP_BASE + stamp);
        let end = bytes.saturating_sub("]}".len());
        while text.len() + 2 * ENTRY_BYTES.end < end {
            let entry_bytes = self.random.usize(ENTRY_BYTES);
            let end = text.len() + entry_bytes;
            self.write_entry(&mut text, end);
            text.push(',');
        }
        self.write_entry(&mut text, end);
        text.push_str("]}");
        text
    }

    /// Writes an entry that fills the text up to `end`.
    fn write_entry(&mut self, text: &mut String, end: usize) {
        self.id += self.random.u64(1..=3);
        self.cents = (self.cents + self.random.u64(0..=20)).saturating_sub(10);
        let author = &self.authors[self.random.usize(..self.authors.len())];
        let (id, units, cents) = (self.id, self.cents / 100, self.cents % 100);
        let _ = write!(
            text,
            "{{\"id\":{id},\"user\":\"{author}\",\"price\":\"{units}.{cents:02}\",\"text\":\""
        );
        let bytes = end.saturating_sub(text.len() + "\"}".len());
        text.push_str(self.quote(bytes));
        text.push_str("\"}");
    }

    /// The next `bytes` bytes of the book, from the beginning of a word.
    fn quote(&mut self, bytes: usize) -> &str {
        let next_word = self.book[self.place..].find(' ').map(|space| self.place + space + 1);
        let start = next_word.filter(|start| start + bytes <= BOOK_BYTES).unwrap_or(0);
        self.place = start + bytes;
        &self.book[start..self.place]
    }
}

/// Returns the stamp of a message; `None` if the text is not a message.
pub(crate) fn stamp(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(STAMP_KEY.as_bytes())?.get(..STAMP_DIGITS)?;
    let append =
        |number: u64, &digit: &u8| Some(number * 10 + u64::from(char::from(digit).to_digit(10)?));
    digits.iter().try_fold(0, append)?.checked_sub(STAMP_BASE)
}

/// Writes words in an order that resembles that of a language.
fn write_book(random: &mut Rng) -> String {
    // Ranks that are spread evenly on a logarithmic scale make the frequency of a word one part in its rank.
    let zipf = |part: f64| (WORDS as f64).powf(part) as usize - 1;
    let words: Vec<String> = (0..WORDS).map(word).collect();
    let mut book = String::with_capacity(BOOK_BYTES + 16);
    let mut rank = 0;
    while book.len() < BOOK_BYTES {
        book.push_str(&words[rank]);
        book.push(' ');
        rank = zipf(match random.usize(..=FOLLOWERS) {
            FOLLOWERS => random.f64(),
            // The same for each time that this word comes, and as if drawn.
            follower => ((rank * FOLLOWERS + follower + 1) as f64 * 0.618_034).fract(),
        });
    }
    book.truncate(BOOK_BYTES);
    book
}

/// The word of this rank: two syllables or three.
fn word(rank: usize) -> String {
    const CONSONANTS: [char; 6] = ['t', 'n', 'r', 's', 'l', 'm'];
    const VOWELS: [char; 5] = ['a', 'e', 'i', 'o', 'u'];
    const SYLLABLES: usize = CONSONANTS.len() * VOWELS.len();
    let mut word = String::new();
    // With this much more, no word has one syllable.
    let mut left = Some(rank + SYLLABLES);
    while let Some(number) = left {
        let syllable = number % SYLLABLES;
        word.push(CONSONANTS[syllable % CONSONANTS.len()]);
        word.push(VOWELS[syllable / CONSONANTS.len()]);
        left = (number / SYLLABLES).checked_sub(1);
    }
    word
}

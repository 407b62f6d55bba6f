//! How many tokens of output have passed, where nobody says: its text is counted a few words at a time.

use super::{
    char_estimate::{self, CharEstimate},
    tokenizer,
};

/// So much text is counted at once. Cut between words, blocks come to as much as the whole.
const BLOCK: usize = 256;

/// Output that has passed.
#[expect(
    clippy::large_enum_variant,
    reason = "a stream's is the usual one, and owns nothing on the heap"
)]
#[derive(Clone, Debug)]
pub(super) enum OutputCount {
    /// By the tokenizer: a stream's, which is long on its way, and breaks off in the middle.
    Words(Words),
    /// By its characters: a plain answer's, which comes at once and almost always says itself what it cost.
    Characters(CharEstimate),
}

#[derive(Clone, Debug)]
pub(super) struct Words {
    /// What of it is not counted yet.
    text: [u8; BLOCK],
    length: usize,
    counted: u64,
}

impl OutputCount {
    pub(super) fn add(&mut self, text: &[u8]) {
        match self {
            Self::Words(words) => words.add(text),
            Self::Characters(scale) => scale.add(text),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Words(words) => (words.length, words.counted) = (0, 0),
            Self::Characters(scale) => *scale = CharEstimate::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Words(words) => words.is_empty(),
            Self::Characters(scale) => scale.tokens() == 0,
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        match self {
            Self::Words(words) => words.tokens(),
            Self::Characters(scale) => scale.tokens(),
        }
    }
}

impl Default for Words {
    fn default() -> Self {
        Self {
            text: [0; BLOCK],
            length: 0,
            counted: 0,
        }
    }
}

impl Words {
    fn add(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let room = &mut self.text[self.length..];
            let (fits, more) = rest.split_at(rest.len().min(room.len()));
            room[..fits.len()].copy_from_slice(fits);
            self.length += fits.len();
            rest = more;
            if self.length == BLOCK {
                self.count_block();
            }
        }
    }

    /// Counts what is whole of the block, and keeps the beginning of a word.
    fn count_block(&mut self) {
        let whole = end_of_words(&self.text);
        self.counted += count(&self.text[..whole]);
        self.text.copy_within(whole.., 0);
        self.length = BLOCK - whole;
    }

    /// An answer has come to where nobody says: from now on it is worth while to count as its model does.
    fn tokens(&self) -> u64 {
        if !self.is_empty() {
            tokenizer::want();
        }
        self.counted + count(&self.text[..self.length])
    }

    fn is_empty(&self) -> bool {
        self.counted == 0 && self.length == 0
    }
}

fn count(text: &[u8]) -> u64 {
    if text.is_empty() {
        return 0;
    }
    tokenizer::count(&String::from_utf8_lossy(text)).unwrap_or_else(|| char_estimate::tokens(text))
}

/// Where the last word of a block begins, its space included; without words, its last character. Never its beginning.
fn end_of_words(block: &[u8; BLOCK]) -> usize {
    let begins = |at: &usize| block[*at] == b' ' && block[*at - 1] != b' ';
    let word = (BLOCK / 2..BLOCK).rev().find(begins);
    let character = || {
        (BLOCK - 3..BLOCK)
            .rev()
            .find(|at| block[*at] & 0xc0 != 0x80)
    };
    word.or_else(character).unwrap_or(BLOCK)
}

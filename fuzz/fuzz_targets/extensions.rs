//! The negotiation of compression accepts and refuses the values of `Sec-WebSocket-Extensions` as a second, naive
//! parser does: it splits a value into words, and reads the rules of RFC 6455, 9.1, and RFC 7692, 7.1, word by word.
//!
//! The input has one value a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::negotiate;

fuzz_target!(|input: &[u8]| {
    let values: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(20).collect();
    let got = negotiate(&values).map(|accepted| {
        accepted.map(|(answer, inflater)| (answer, inflater.window_bits(), inflater.keeps_window()))
    });
    assert_eq!(got.ok(), expected(&values));
});

type Answer = (String, u8, bool);

/// `None` if a value breaks the grammar, `Some(None)` if no offer is acceptable.
fn expected(values: &[&[u8]]) -> Option<Option<Answer>> {
    let lists: Option<Vec<_>> = values.iter().map(|value| extensions(value)).collect();
    Some(lists?.iter().flatten().find_map(answer))
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Separator(u8),
    Token(String),
    Quoted(String),
}

struct Extension {
    name: String,
    params: Vec<(String, Option<String>)>,
}

fn extensions(value: &[u8]) -> Option<Vec<Extension>> {
    let words = words(value)?;
    let parts = words.split(|word| *word == Word::Separator(b','));
    parts.filter(|part| !part.is_empty()).map(extension).collect()
}

fn extension(words: &[Word]) -> Option<Extension> {
    let mut parts = words.split(|word| *word == Word::Separator(b';'));
    let [Word::Token(name)] = parts.next()? else { return None };
    let params = parts.map(|part| match part {
        [Word::Token(name)] => Some((name.clone(), None)),
        [Word::Token(name), Word::Separator(b'='), Word::Token(value) | Word::Quoted(value)] => {
            Some((name.clone(), Some(value.clone())))
        }
        _ => None,
    });
    Some(Extension { name: name.clone(), params: params.collect::<Option<_>>()? })
}

/// The words of a value. A quoted string counts as one word, without quotes and escapes.
fn words(value: &[u8]) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => {}
            b',' | b';' | b'=' => words.push(Word::Separator(byte)),
            b'"' => {
                let mut quoted = String::new();
                loop {
                    let byte = match bytes.next()? {
                        b'"' => break,
                        b'\\' => bytes.next()?,
                        byte => byte,
                    };
                    quoted.push(char::from(byte));
                }
                let is_token = !quoted.is_empty() && quoted.bytes().all(is_token);
                words.push(is_token.then_some(Word::Quoted(quoted))?);
            }
            _ => {
                let mut token = String::from(char::from(byte));
                while let Some(byte) = bytes.next_if(|byte| is_token(*byte)) {
                    token.push(char::from(byte));
                }
                words.push(token.bytes().all(is_token).then_some(Word::Token(token))?);
            }
        }
    }
    Some(words)
}

/// Whether this is a visible character that is no separator of RFC 2616, 2.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

fn answer(extension: &Extension) -> Option<Answer> {
    if extension.name != "permessage-deflate" {
        return None;
    }
    let mut names: Vec<_> = extension.params.iter().map(|(name, _)| name).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    let (mut bits, mut keeps_window) = (None, true);
    for (name, value) in &extension.params {
        match (name.as_str(), value.as_deref()) {
            ("client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(window_bits(value)?),
            ("server_no_context_takeover", None) => keeps_window = false,
            ("server_max_window_bits", Some(value)) => {
                bits = Some(window_bits(value)?);
            }
            _ => return None,
        }
    }
    let takeover = if keeps_window { "" } else { "; server_no_context_takeover" };
    let window = bits.map_or(String::new(), |bits| format!("; server_max_window_bits={bits}"));
    let answer = format!("permessage-deflate; client_no_context_takeover{takeover}{window}");
    Some((answer, bits.unwrap_or(15), keeps_window))
}

fn window_bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits| bits.to_string() == value)
}

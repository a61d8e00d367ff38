//! What the parser takes and TOML 1.0 does not: maps are TOML 1.0, which any editor and any language's reader takes.

use std::ops::Range;

/// Something of a TOML after 1.0.
pub(super) struct Newer {
    pub span: Range<usize>,
    pub problem: &'static str,
    pub help: &'static str,
}

/// What a text that is valid TOML has from after 1.0.
pub(super) fn newer(text: &str) -> Vec<Newer> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut brackets: Vec<u8> = Vec::new();
    // The comma that nothing but white space has followed.
    let mut comma = None;
    let mut here = 0;
    while let Some(&byte) = bytes.get(here) {
        let inline = brackets.last() == Some(&b'{');
        let mut next = here + 1;
        match byte {
            b'#' => next = here + bytes[here..].iter().take_while(|byte| **byte != b'\n').count(),
            b'"' | b'\'' => next = string(bytes, here, &mut found),
            b'[' | b'{' => brackets.push(byte),
            b'\n' if inline => found.push(Newer {
                span: here..here,
                problem: "an inline table goes on one line",
                help: "TOML 1.0 has no line break between { and }: write it on one line, or as a [table]",
            }),
            b']' | b'}' => {
                if let (true, Some(comma)) = (inline, comma) {
                    found.push(Newer {
                        span: comma..comma + 1,
                        problem: "an inline table ends without a comma",
                        help: "TOML 1.0 has no comma before }: remove it",
                    });
                }
                brackets.pop();
            }
            _ => {}
        }
        match byte {
            b',' => comma = Some(here),
            b' ' | b'\t' | b'\r' | b'\n' | b'#' => {}
            _ => comma = None,
        }
        here = next;
    }
    found
}

/// The end of the string that begins at `start`.
fn string(bytes: &[u8], start: usize, found: &mut Vec<Newer>) -> usize {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote; 3]);
    let mut here = start + if long { 3 } else { 1 };
    while let Some(&byte) = bytes.get(here) {
        if byte == b'\\' && quote == b'"' {
            if let Some(b'e' | b'x') = bytes.get(here + 1) {
                found.push(Newer {
                    span: here..here + 2,
                    problem: "TOML 1.0 does not know this escape",
                    help: "write \\u and the character's four hex digits",
                });
            }
            here += 2;
        } else if byte != quote {
            here += 1;
        } else if !long {
            return here + 1;
        } else if bytes[here..].starts_with(&[quote; 3]) {
            // Up to two quotes more belong to the string, before the three that end it.
            let more = bytes[here + 3..].iter().take(2).take_while(|byte| **byte == quote).count();
            return here + 3 + more;
        } else {
            here += 1;
        }
    }
    bytes.len()
}

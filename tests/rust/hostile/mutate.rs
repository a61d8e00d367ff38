//! Makes hostile input out of good input, the same at each run.

/// A generator of numbers that only need to look random.
pub struct Dice(u64);

/// What breaks readers: ends of ranges, brackets, text that terminals act on, and the words of the format.
const PIECES: &[&str] = &[
    "0",
    "-1",
    "1e9",
    "0x7fff_ffff_ffff_ffff",
    "0x8000_0000_0000_0000",
    "18446744073709551615",
    "18446744073709551616",
    "'0xffff_ffff_ffff_ffff'",
    "'-1'",
    "0x8000_0000",
    "9223372036854775807",
    "340282366920938463463374607431768211456",
    "nan",
    "1979-05-27",
    "true",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r\n",
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "\\",
    "\\u001b",
    "\\U00110000",
    "\u{0}",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\u{1f980}",
    "include = ['a.toml']\n",
    "include = ['uart16550.toml']\n",
    "derive-from = 'A'\n",
    "count = 0x8000_0000\n",
    "count = '0x8000_0000_0000_0000'\n",
    "stride = 1\n",
    "stride = '0xffff_ffff_ffff_ffff'\n",
    "offset = '0xffff_ffff_ffff_fff8'\n",
    "size = '0xffff_ffff_ffff_ffff'\n",
    "width = 64\n",
    "width = 8\n",
    "split = 'low-first'\n",
    "access = 'wo'\n",
    "access = 'rc'\n",
    "access = 'w0t'\n",
    "on-write = 'clear'\n",
    "fifo = true\n",
    "overlaps = true\n",
    "fields.F = '63:0'\n",
    "fields.F = '0:63'\n",
    "set-alias = 'A'\n",
    "expect = { value = 1, mask = 2 }\n",
    "[[behaviour]]\n",
    "every = 1\n",
    "on-write = 'A'\n",
    "on-read = ['A']\n",
    "on-input = 'A'\n",
    "after-reads = 2\n",
    "send = 'A'\n",
    "flush = ['A']\n",
    "waiting(A)",
    "assign = { A = 'B' }\n",
    "set = { A = 1 }\n",
    "[*]",
    "index",
    "written",
    "`",
    "((",
    " if 1 else ",
    "not ",
    "[device]\n",
    "[regions.r]\n",
    "[devices.d]\n",
    "mock:",
    "mem:",
    "pci:",
    "file:",
    "uio:",
];

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// From 0 to one below `below`, which is more than 0.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// One of the seeds, changed in a few places.
    pub fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.roll(seeds.len())].clone();
        for _ in 0..=self.roll(4) {
            self.change(&mut data, seeds);
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.roll(data.len() + 1);
        let end = (at + self.roll(24)).min(data.len());
        match self.roll(9) {
            0 if at < data.len() => data[at] ^= 1 << self.roll(8),
            1 if at < data.len() => data[at] = self.roll(256) as u8,
            2 => drop(data.drain(at..end)),
            3 => {
                let again = data[at..end].to_vec();
                data.splice(at..at, again);
            }
            4 => {
                let other = &seeds[self.roll(seeds.len())];
                let from = self.roll(other.len() + 1);
                let to = (from + self.roll(200)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
            5 => self.swap_lines(data),
            6 => data.truncate(at),
            7 => self.replace_number(data, at),
            _ => drop(data.splice(at..end, PIECES[self.roll(PIECES.len())].bytes())),
        }
    }

    fn swap_lines(&mut self, data: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
        if !lines.is_empty() {
            let (one, other) = (self.roll(lines.len()), self.roll(lines.len()));
            lines.swap(one, other);
            *data = lines.concat();
        }
    }

    /// The number at or after a place becomes another one.
    fn replace_number(&mut self, data: &mut Vec<u8>, at: usize) {
        let Some(start) = data[at..].iter().position(u8::is_ascii_digit).map(|start| at + start) else {
            return;
        };
        let length =
            data[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        data.splice(start..start + length, PIECES[self.roll(11)].bytes());
    }
}

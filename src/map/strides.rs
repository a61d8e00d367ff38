//! Whether two registers that repeat share a byte, without looking at each repetition.

/// How often something repeats, and how far apart: counts are at least 1.
pub(super) type Dimension = (u64, u64);

/// A register with all its repetitions, from a common start.
#[derive(Clone, Debug)]
pub(super) struct Strided {
    pub start: u64,
    /// In bytes.
    pub size: u64,
    pub dimensions: Vec<Dimension>,
}

impl Strided {
    /// The end of the last repetition.
    pub fn end(&self) -> u64 {
        self.dimensions.iter().fold(self.start + self.size, |end, (count, stride)| end + (count - 1) * stride)
    }

    /// Whether two repetitions may share a byte. False is certain.
    pub fn may_touch_itself(&self) -> bool {
        let mut dimensions: Vec<_> = self.dimensions.iter().filter(|(count, _)| *count > 1).collect();
        dimensions.sort_unstable_by_key(|(_, stride)| *stride);
        // Apart where each dimension steps over all that the smaller ones cover.
        let mut covered = self.size;
        dimensions.into_iter().any(|(count, stride)| {
            let within = *stride < covered;
            covered += (count - 1) * stride;
            within
        })
    }
}

/// What a search may cost before it gives up.
const MOST_STEPS: u32 = 1 << 14;

/// Whether some repetition of `a`, moved up by one to `most` times `stride`, shares a byte with one of `b`; not moved
/// if there is no `moved`. None where that is too intricate to find out. All must end below 2^64.
pub(super) fn touch(a: &Strided, b: &Strided, moved: Option<Dimension>) -> Option<bool> {
    // They touch where the difference of their places, a sum of strides, is in this range.
    let apart = i128::from(b.start) - i128::from(a.start);
    let mut low = apart - i128::from(a.size) + 1;
    let mut high = apart + i128::from(b.size) - 1;
    let mut terms: Vec<(i128, i128)> = Vec::new();
    let mut add =
        |stride: u64, most: u64| match terms.iter_mut().find(|(known, _)| *known == i128::from(stride)) {
            _ if most == 0 => {}
            Some((_, sum)) => *sum += i128::from(most),
            None => terms.push((stride.into(), most.into())),
        };
    for (count, stride) in &a.dimensions {
        add(*stride, count - 1);
    }
    for (count, stride) in &b.dimensions {
        // Counted down from the last instead of up, so that all strides add.
        add(*stride, count - 1);
        let shift = i128::from(count - 1) * i128::from(*stride);
        (low, high) = (low + shift, high + shift);
    }
    if let Some((most, stride)) = moved {
        add(stride, most - 1);
        (low, high) = (low - i128::from(stride), high - i128::from(stride));
    }
    terms.sort_unstable_by(|a, b| b.cmp(a));
    reach(&terms, low, high, &mut MOST_STEPS.clone())
}

/// Whether a sum of `stride * n` with `n` from 0 to `most` for each term, largest stride first, is in a range.
fn reach(terms: &[(i128, i128)], low: i128, high: i128, steps: &mut u32) -> Option<bool> {
    *steps = steps.checked_sub(1)?;
    let total: i128 = terms.iter().map(|(stride, most)| stride * most).sum();
    let (low, high) = (low.max(0), high.min(total));
    if low > high {
        return Some(false);
    }
    if low == 0 || high == total {
        return Some(true);
    }
    let Some(((stride, most), rest)) = terms.split_first() else { return Some(false) };
    // All sums are multiples of what divides all strides.
    let divisor = terms.iter().fold(0, |divisor, (stride, _)| gcd(divisor, *stride));
    if high / divisor * divisor < low {
        return Some(false);
    }
    let below: i128 = rest.iter().map(|(stride, most)| stride * most).sum();
    let first = (low - below).max(0).div_euclid(*stride) + i128::from((low - below).max(0) % stride != 0);
    let last = (high / stride).min(*most);
    for n in first..=last {
        if reach(rest, low - n * stride, high - n * stride, steps)? {
            return Some(true);
        }
    }
    Some(false)
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

//! The decimal digits of numbers, and the ways to write them.

use num_bigint::BigUint;

use super::Number;

/// `0.d₁d₂d₃… · 10^point`, or its negative. Zero has no digits.
#[derive(Clone, Debug)]
pub(in crate::expr) struct Decimal {
    pub(in crate::expr) negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn new(negative: bool, size: &BigUint, tens: i64) -> Self {
        let mut digits: Vec<u8> =
            size.to_string().into_bytes().iter().map(|byte| byte - b'0').collect();
        let point = tens.saturating_add_unsigned(digits.len() as u64);
        if size.bits() == 0 {
            digits.clear();
        }
        let mut all = Self { negative, digits, point };
        all.trim();
        all
    }

    fn trim(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 1;
        }
    }

    /// Every digit: a number of base two has finitely many in base ten.
    pub(in crate::expr) fn exact(number: &Number) -> Self {
        let (negative, mantissa, power, _) = number.parts();
        if power >= 0 {
            return Self::new(negative, &(mantissa << power.unsigned_abs()), 0);
        }
        let places = u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX);
        Self::new(negative, &(mantissa * BigUint::from(5_u8).pow(places)), power)
    }

    /// As few digits as no other number of the same precision is nearer to.
    pub(in crate::expr) fn shortest(number: &Number) -> Self {
        let (negative, mantissa, power, precision) = number.parts();
        if mantissa.bits() == 0
            || (power >= 0 && power.unsigned_abs() + mantissa.bits() < precision)
        {
            // There is a bit to spare behind the point, so that each digit counts.
            return Self::exact(number);
        }
        // The number and the ends of the room around it, half a last bit away, all as whole numbers of one scale. The
        // ends belong to the room when the last bit is 0, because a tie goes to the even neighbour.
        let spare = precision - mantissa.bits() + 1;
        let (middle, power) = (mantissa << spare, power - i64::try_from(spare).unwrap_or(0));
        let with_ends = !middle.bit(1);
        let scale = |n: BigUint| {
            if power >= 0 {
                n << power.unsigned_abs()
            } else {
                n * BigUint::from(5_u8).pow(u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX))
            }
        };
        let [low, middle, high] =
            [scale(&middle - 1_u8), scale(middle.clone()), scale(middle + 1_u8)]
                .map(|n| n.to_string());
        // One place more, so that a carry has room.
        let width = high.len() + 1;
        let digits = |text: &str| -> Vec<u8> {
            let zeros = std::iter::repeat_n(0, width - text.len());
            zeros.chain(text.bytes().map(|byte| byte - b'0')).collect()
        };
        let (low, middle, high) = (digits(&low), digits(&middle), digits(&high));
        let point = power.min(0).saturating_add_unsigned(width as u64);
        let ends_in_zeros = |digits: &[u8]| {
            let zeros = digits.iter().rev().take_while(|digit| **digit == 0).count();
            digits.len() - zeros
        };
        let (low_end, high_end) = (ends_in_zeros(&low), ends_in_zeros(&high));
        let mut found = Self { negative, digits: middle.clone(), point };
        // Whether the digits so far are more than those of the lower end, and how much less than those of the upper end;
        // two is as good as more.
        let (mut above, mut below) = (false, 0_i32);
        for (kept, ((low, middle_digit), high)) in low.iter().zip(&middle).zip(&high).enumerate() {
            let kept = kept + 1;
            above |= middle_digit > low;
            below = (below * 10 + i32::from(*high) - i32::from(*middle_digit)).min(2);
            let fits_down = above || (with_ends && low_end <= kept);
            let fits_up = match below {
                0 => false,
                1 => with_ends || high_end > kept,
                _ => true,
            };
            if !fits_down && !fits_up {
                continue;
            }
            let nearer_up = fits_up && (!fits_down || rounds_up(&middle, kept));
            found.digits.truncate(kept);
            if nearer_up {
                found.digits = raised(&found.digits);
            }
            break;
        }
        let zeros = found.digits.iter().take_while(|digit| **digit == 0).count();
        found.digits.drain(..zeros);
        found.point -= i64::try_from(zeros).unwrap_or(0);
        found.trim();
        found
    }

    /// So many digits from the first one on, the last rounded: ties to even.
    fn rounded(mut self, kept: i64) -> Self {
        let Ok(kept) = usize::try_from(kept) else {
            self.digits.clear();
            self.trim();
            return self;
        };
        if kept >= self.digits.len() {
            return self;
        }
        let up = rounds_up(&self.digits, kept);
        self.digits.truncate(kept);
        if up {
            let before = self.digits.len();
            self.digits = raised(&self.digits);
            if self.digits.len() > before {
                self.point += 1;
            }
        }
        self.trim();
        self
    }

    fn digit(&self, at: i64) -> char {
        let digit = usize::try_from(at).ok().and_then(|at| self.digits.get(at));
        char::from(b'0' + digit.copied().unwrap_or(0))
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    /// All digits, without an exponent.
    pub(in crate::expr) fn plain(&self) -> String {
        let behind = i64::try_from(self.digits.len()).unwrap_or(0) - self.point;
        self.written(behind.max(0))
    }

    /// So many digits behind the point.
    pub(in crate::expr) fn fixed(self, behind: usize) -> String {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        let kept = self.point.saturating_add(behind);
        self.rounded(kept).written(behind)
    }

    fn written(&self, behind: i64) -> String {
        let mut out = self.sign().to_owned();
        if self.point <= 0 {
            out.push('0');
        }
        out.extend((0..self.point).map(|at| self.digit(at)));
        if behind > 0 {
            out.push('.');
            out.extend((self.point..self.point.saturating_add(behind)).map(|at| self.digit(at)));
        }
        out
    }

    /// One digit before the point, so many behind it, and an exponent.
    pub(in crate::expr) fn scientific(self, behind: usize) -> String {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        self.rounded(behind.saturating_add(1)).with_exponent(behind)
    }

    fn with_exponent(&self, behind: i64) -> String {
        let mut out = self.sign().to_owned();
        out.push(self.digit(0));
        if behind > 0 {
            out.push('.');
            out.extend((1..=behind).map(|at| self.digit(at)));
        }
        let exponent = if self.digits.is_empty() { 0 } else { self.point - 1 };
        let sign = if exponent < 0 { '-' } else { '+' };
        out + &format!("e{sign}{:02}", exponent.unsigned_abs())
    }

    /// With an exponent below 0.0001 and from `from` digits before the point on, otherwise without.
    fn general(&self, from: i64) -> String {
        let count = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let exponent = if self.digits.is_empty() { 0 } else { self.point - 1 };
        if exponent < -4 || exponent >= from {
            self.with_exponent(count - 1)
        } else {
            self.written((count - self.point).max(0))
        }
    }

    /// As `%g` writes it: with so many digits, or as few as possible and an exponent from a million on.
    pub(in crate::expr) fn as_general(number: &Number, precision: Option<usize>) -> String {
        match precision {
            None => Self::shortest(number).general(6),
            Some(precision) => {
                let most = i64::try_from(precision.max(1)).unwrap_or(i64::MAX);
                let rounded = Self::exact(number).rounded(most);
                let count = i64::try_from(rounded.digits.len()).unwrap_or(i64::MAX);
                let from = if most > count && count >= rounded.point { count } else { most };
                rounded.general(from)
            }
        }
    }
}

/// Whether what is behind so many digits is more than half, or half and the last digit kept is odd.
fn rounds_up(digits: &[u8], kept: usize) -> bool {
    match digits.get(kept..) {
        Some([5, rest @ ..]) if rest.iter().all(|digit| *digit == 0) => {
            kept.checked_sub(1).and_then(|last| digits.get(last)).is_some_and(|d| d % 2 == 1)
        }
        Some([first, ..]) => *first >= 5,
        _ => false,
    }
}

/// One more in the last place. Nines at the front make it a digit longer.
fn raised(digits: &[u8]) -> Vec<u8> {
    let mut out = digits.to_vec();
    for digit in out.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return out;
        }
        *digit = 0;
    }
    out.insert(0, 1);
    out
}

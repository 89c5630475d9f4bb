//! Numbers with as many digits as HCL gives them: 512 bits, rounded to the nearest, ties to even.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use num_bigint::BigUint;

use super::decimal::Decimal;

/// How many bits a number that is written out may have.
const BITS: u64 = 512;
/// How many bits a float of the machine has: what comes from one is printed with no more digits than tell it from its
/// neighbours.
const FLOAT_BITS: u64 = 53;
/// Up to here a float of the machine holds every whole number.
const EXACT: u64 = 1 << FLOAT_BITS;
/// The highest power of two, up and down, that a number may come to. HCL knows no bound that matters, but somebody has
/// to: the digits of a number are written out.
const MAX_POWER: i64 = 1 << 14;
/// The most digits that are read.
const MAX_DIGITS: usize = 5_000;

/// A number.
#[derive(Clone, Debug)]
pub(in crate::expr) enum Number {
    Int(i64),
    /// What an [`i64`] does not hold.
    Big(Rc<Big>),
}

/// `mantissa · 2^power`, or its negative. The mantissa is odd, unless it is 0: only minus zero is kept so.
#[derive(Debug)]
pub(in crate::expr) struct Big {
    pub(super) negative: bool,
    pub(super) mantissa: BigUint,
    pub(super) power: i64,
    /// How many bits the mantissa could have had.
    pub(super) precision: u64,
}

impl Number {
    /// Reads decimal digits, with a fraction and an exponent if there are any. An exponent after `p` is one of two.
    /// Nothing for what is no number, or too large a one.
    pub(in crate::expr) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        // The shortest way for what most numbers are.
        if digits.len() <= 18 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let n: i64 = digits.parse().ok()?;
            if !(negative && n == 0) {
                return Some(Self::Int(if negative { -n } else { n }));
            }
        }
        let (mantissa, exponent, is_binary) = match digits.find(['e', 'E', 'p', 'P']) {
            Some(at) => {
                let (mantissa, rest) = digits.split_at(at);
                let exponent = rest.get(1..)?;
                let plain = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                (mantissa, exponent.parse::<i64>().ok()?, rest.starts_with(['p', 'P']))
            }
            None => (digits, 0, false),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || all.len() > MAX_DIGITS || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mantissa = BigUint::parse_bytes(all.as_bytes(), 10)?;
        let behind = i64::try_from(fraction.len()).ok()?;
        let (tens, twos) = if is_binary {
            (behind.checked_neg()?, exponent)
        } else {
            (exponent.checked_sub(behind)?, 0)
        };
        if tens.abs() > MAX_POWER || twos.abs() > MAX_POWER {
            return None;
        }
        let scale = BigUint::from(10_u8).pow(u32::try_from(tens.unsigned_abs()).ok()?);
        if tens >= 0 {
            Self::rounded(negative, mantissa * scale, twos, false, BITS)
        } else {
            Self::quotient(negative, mantissa, &scale, twos, BITS)
        }
    }

    /// Nothing for what is not finite.
    pub(in crate::expr) fn from_f64(n: f64) -> Option<Self> {
        if !n.is_finite() {
            return None;
        }
        let bits = n.abs().to_bits();
        let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
        let (mantissa, power) = if exponent == 0 {
            (fraction, -1074)
        } else {
            (fraction | 1 << 52, i64::try_from(exponent).ok()? - 1075)
        };
        Self::rounded(n.is_sign_negative(), mantissa.into(), power, false, FLOAT_BITS)
    }

    /// A whole number of any size.
    pub(in crate::expr) fn whole(negative: bool, size: BigUint) -> Option<Self> {
        let precision = size.bits().max(64);
        Self::rounded(negative && size.bits() > 0, size, 0, false, precision)
    }

    /// Brings a result into shape. `more` says that there is something behind the last bit. Nothing when the result is
    /// too large or too small.
    fn rounded(
        negative: bool,
        mut mantissa: BigUint,
        mut power: i64,
        more: bool,
        precision: u64,
    ) -> Option<Self> {
        if let Some(over) = mantissa.bits().checked_sub(precision).filter(|over| *over > 0) {
            let half = mantissa.bit(over - 1);
            let behind = more || mantissa.trailing_zeros().is_some_and(|zeros| zeros < over - 1);
            mantissa >>= over;
            power = power.checked_add_unsigned(over)?;
            if half && (behind || mantissa.bit(0)) {
                mantissa += 1_u8;
            }
        }
        let Some(zeros) = mantissa.trailing_zeros() else {
            return Some(if negative { Self::minus_zero() } else { Self::Int(0) });
        };
        mantissa >>= zeros;
        power = power.checked_add_unsigned(zeros)?;
        let top = power.checked_add_unsigned(mantissa.bits())?;
        if top > MAX_POWER || power < -MAX_POWER - 2 * i64::try_from(BITS).ok()? {
            return None;
        }
        if power >= 0 && top <= 63 {
            let size = u64::try_from(&mantissa << power.unsigned_abs()).ok()?;
            // What came from a float may be printed with fewer digits than it has.
            if precision > FLOAT_BITS || size <= EXACT {
                let size = i64::try_from(size).ok()?;
                return Some(Self::Int(if negative { -size } else { size }));
            }
        }
        Some(Self::Big(Rc::new(Big { negative, mantissa, power, precision })))
    }

    fn minus_zero() -> Self {
        Self::Big(Rc::new(Big {
            negative: true,
            mantissa: BigUint::ZERO,
            power: 0,
            precision: BITS,
        }))
    }

    fn quotient(
        negative: bool,
        mut above: BigUint,
        below: &BigUint,
        power: i64,
        precision: u64,
    ) -> Option<Self> {
        let shift = (precision + 2 + below.bits()).saturating_sub(above.bits());
        above <<= shift;
        let quotient = &above / below;
        let more = (&quotient * below) != above;
        Self::rounded(negative, quotient, power.checked_sub_unsigned(shift)?, more, precision)
    }

    /// Sign, mantissa, power of two and precision.
    pub(super) fn parts(&self) -> (bool, BigUint, i64, u64) {
        match self {
            Self::Int(n) => (*n < 0, n.unsigned_abs().into(), 0, BITS),
            Self::Big(big) => (big.negative, big.mantissa.clone(), big.power, big.precision),
        }
    }

    pub(in crate::expr) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Big(big) if big.mantissa.bits() == 0 => Some(0),
            Self::Big(big) if big.power >= 0 && big.power <= 64 => {
                let size = i128::try_from(&big.mantissa << big.power.unsigned_abs()).ok()?;
                i64::try_from(if big.negative { -size } else { size }).ok()
            }
            Self::Big(_) => None,
        }
    }

    pub(in crate::expr) fn as_f64(&self) -> f64 {
        match self {
            Self::Int(n) => *n as f64,
            Self::Big(_) => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// The size of a whole number, and whether it is negative.
    pub(in crate::expr) fn as_whole(&self) -> Option<(bool, BigUint)> {
        let (negative, mantissa, power, _) = self.parts();
        (power >= 0).then(|| (negative, mantissa << power.unsigned_abs()))
    }

    pub(in crate::expr) fn is_zero(&self) -> bool {
        match self {
            Self::Int(n) => *n == 0,
            Self::Big(big) => big.mantissa.bits() == 0,
        }
    }

    pub(in crate::expr) fn is_negative(&self) -> bool {
        match self {
            Self::Int(n) => *n < 0,
            Self::Big(big) => big.negative && big.mantissa.bits() > 0,
        }
    }

    pub(in crate::expr) fn size(&self) -> usize {
        match self {
            Self::Int(_) => 24,
            // Its digits are many, and take long to write out.
            Self::Big(big) => {
                let bits = big.mantissa.bits().saturating_add(big.power.unsigned_abs());
                64 + usize::try_from(bits.saturating_mul(2)).unwrap_or(usize::MAX)
            }
        }
    }

    pub(in crate::expr) fn negated(&self) -> Self {
        match self {
            Self::Int(0) => Self::minus_zero(),
            Self::Int(n) => match n.checked_neg() {
                Some(n) => Self::Int(n),
                None => Self::whole(false, n.unsigned_abs().into()).unwrap_or(Self::Int(*n)),
            },
            Self::Big(_) => {
                let (negative, mantissa, power, precision) = self.parts();
                Self::rounded(!negative, mantissa, power, false, precision)
                    .unwrap_or_else(|| self.clone())
            }
        }
    }

    pub(in crate::expr) fn magnitude(self) -> Self {
        if self.is_zero() {
            Self::Int(0)
        } else if self.is_negative() {
            self.negated()
        } else {
            self
        }
    }

    pub(in crate::expr) fn plus(&self, other: &Self) -> Option<Self> {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(*b)
        {
            return Some(Self::Int(sum));
        }
        let (a_negative, mut a, a_power, a_precision) = self.parts();
        let (b_negative, mut b, b_power, b_precision) = other.parts();
        let power = a_power.min(b_power);
        a <<= a_power.abs_diff(power);
        b <<= b_power.abs_diff(power);
        let (negative, size) = if a_negative == b_negative {
            (a_negative, a + b)
        } else if a >= b {
            let difference = a - b;
            (a_negative && difference.bits() > 0, difference)
        } else {
            (b_negative, b - a)
        };
        Self::rounded(negative, size, power, false, a_precision.max(b_precision))
    }

    pub(in crate::expr) fn minus(&self, other: &Self) -> Option<Self> {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(difference) = a.checked_sub(*b)
        {
            return Some(Self::Int(difference));
        }
        self.plus(&other.negated())
    }

    pub(in crate::expr) fn times(&self, other: &Self) -> Option<Self> {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(product) = a.checked_mul(*b)
            && product != 0
        {
            return Some(Self::Int(product));
        }
        let (a_negative, a, a_power, a_precision) = self.parts();
        let (b_negative, b, b_power, b_precision) = other.parts();
        let product = a * b;
        let bits = product.bits() - product.trailing_zeros().unwrap_or(0);
        // What floats of the machine come to keeps the bits that it needs.
        let precision = a_precision.max(b_precision).max(bits.min(BITS));
        Self::rounded(a_negative != b_negative, product, a_power + b_power, false, precision)
    }

    /// Nothing for a division by zero.
    pub(in crate::expr) fn over(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && a.checked_rem(*b) == Some(0)
            && *a != 0
        {
            return a.checked_div(*b).map(Self::Int);
        }
        let (a_negative, a, a_power, a_precision) = self.parts();
        let (b_negative, b, b_power, b_precision) = other.parts();
        let precision = a_precision.max(b_precision);
        Self::quotient(a_negative != b_negative, a, &b, a_power - b_power, precision)
    }

    /// What is left of a division, with the sign of what is divided. Zero divides nothing: all is left.
    pub(in crate::expr) fn rest(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return Some(self.clone());
        }
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            return a.checked_rem(*b).map(Self::Int);
        }
        // As precise as what is divided, step by step.
        let precision = self.parts().3;
        let times = self.over(other)?.truncated().with_precision(precision)?;
        let product = other.times(&times)?.with_precision(precision)?;
        self.minus(&product)?.with_precision(precision)
    }

    fn with_precision(&self, precision: u64) -> Option<Self> {
        match self {
            Self::Int(_) => Some(self.clone()),
            Self::Big(_) => {
                let (negative, mantissa, power, _) = self.parts();
                Self::rounded(negative, mantissa, power, false, precision)
            }
        }
    }

    fn truncated(&self) -> Self {
        let (negative, mantissa, power, precision) = self.parts();
        if power >= 0 {
            return self.clone();
        }
        let whole = mantissa >> power.unsigned_abs();
        Self::rounded(negative && whole.bits() > 0, whole, 0, false, precision)
            .unwrap_or(Self::Int(0))
    }

    /// The next whole number, up or down.
    pub(in crate::expr) fn to_whole(&self, up: bool) -> Option<Self> {
        let (negative, mantissa, power, _) = self.parts();
        if power >= 0 {
            return Some(if self.is_zero() { Self::Int(0) } else { self.clone() });
        }
        // An odd mantissa has a last bit, and that bit is behind the point.
        let whole = mantissa >> power.unsigned_abs();
        let whole = if negative == up { whole } else { whole + 1_u8 };
        Self::whole(negative, whole)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            return a.cmp(b);
        }
        let sides = (self.is_negative(), other.is_negative());
        if sides.0 != sides.1 {
            return if sides.0 { Ordering::Less } else { Ordering::Greater };
        }
        let ((_, mut a, a_power, _), (_, mut b, b_power, _)) = (self.parts(), other.parts());
        let power = a_power.min(b_power);
        a <<= a_power.abs_diff(power);
        b <<= b_power.abs_diff(power);
        if sides.0 { b.cmp(&a) } else { a.cmp(&b) }
    }
}

impl fmt::Display for Number {
    /// With as few digits as tell it from others of its precision, and never with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Big(_) => f.write_str(&Decimal::shortest(self).plain()),
        }
    }
}

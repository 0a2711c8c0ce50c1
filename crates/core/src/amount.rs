use alloy_primitives::U256;
use std::fmt;

/// A quantity of an asset in its atomic units. Unsigned, 256 bits, never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("{0:?} is not a plain decimal number (digits and at most one point)")]
    NotDecimal(String),
    #[error("{text:?} has {given} decimals, but the asset has only {allowed}")]
    TooPrecise { text: String, given: usize, allowed: u8 },
    #[error("{0:?} does not fit in 256 bits of atomic units")]
    Overflow(String),
}

impl Amount {
    pub const ZERO: Self = Self(U256::ZERO);

    pub const fn from_atomic(units: U256) -> Self {
        Self(units)
    }

    pub const fn atomic(self) -> U256 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Reads atomic units as the wire carries them: decimal digits only.
    pub fn parse_atomic(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotDecimal(text.to_owned()));
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| AmountError::Overflow(text.to_owned()))
    }

    /// Reads a human price such as `0.01` in units of an asset with `decimals` decimals.
    /// Digits that the asset cannot hold are refused rather than rounded.
    pub fn parse_price(text: &str, decimals: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let ends_in_point = text.ends_with('.');
        if whole.is_empty() || ends_in_point || !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotDecimal(text.to_owned()));
        }
        let significant = fraction.trim_end_matches('0');
        if significant.len() > usize::from(decimals) {
            return Err(AmountError::TooPrecise {
                text: text.to_owned(),
                given: significant.len(),
                allowed: decimals,
            });
        }
        let padded = format!("{whole}{significant:0<width$}", width = usize::from(decimals));
        U256::from_str_radix(&padded, 10).map(Self).map_err(|_| AmountError::Overflow(text.to_owned()))
    }

    /// The human form, without trailing zeros: `10000` atomic units of a 6-decimal asset are
    /// `0.01`.
    pub fn to_decimal(self, decimals: u8) -> String {
        let places = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0.to_string(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Amount {
    fn from(units: u64) -> Self {
        Self(U256::from(units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_becomes_exact_atomic_units() {
        for (text, decimals, units) in [
            ("0.01", 6, 10_000u64),
            ("1", 6, 1_000_000),
            ("0.010000000", 6, 10_000),
            ("0.000001", 6, 1),
            ("12", 0, 12),
            ("0", 6, 0),
        ] {
            assert_eq!(Amount::parse_price(text, decimals), Ok(units.into()), "{text}");
        }
    }

    #[test]
    fn a_price_that_would_need_rounding_or_guessing_is_refused() {
        for text in
            ["", ".", ".5", "5.", "-1", "+1", "1e3", "$0.01", "0,01", " 1", "1_000", "0x1", "1.2.3", "٣"]
        {
            assert!(matches!(Amount::parse_price(text, 6), Err(AmountError::NotDecimal(_))), "{text:?}");
        }
        assert!(matches!(
            Amount::parse_price("0.0000001", 6),
            Err(AmountError::TooPrecise { given: 7, allowed: 6, .. })
        ));
        let huge = "9".repeat(78);
        assert!(matches!(Amount::parse_price(&huge, 0), Err(AmountError::Overflow(_))));
    }

    #[test]
    fn atomic_text_is_digits_only_and_bounded() {
        assert_eq!(Amount::parse_atomic("10000"), Ok(10_000.into()));
        let max = U256::MAX.to_string();
        assert_eq!(Amount::parse_atomic(&max), Ok(Amount::from_atomic(U256::MAX)));
        for text in ["", "-1", "+1", "1.0", "0x10", " 1", "1 "] {
            assert!(Amount::parse_atomic(text).is_err(), "{text:?}");
        }
        let over = format!("{max}0");
        assert!(matches!(Amount::parse_atomic(&over), Err(AmountError::Overflow(_))));
    }

    #[test]
    fn decimal_text_round_trips() {
        for (units, decimals, text) in [
            (10_000u64, 6, "0.01"),
            (0, 6, "0"),
            (1, 18, "0.000000000000000001"),
            (5, 0, "5"),
            (1_500_000, 6, "1.5"),
        ] {
            let amount = Amount::from(units);
            assert_eq!(amount.to_decimal(decimals), text);
            assert_eq!(Amount::parse_price(text, decimals), Ok(amount));
        }
    }
}

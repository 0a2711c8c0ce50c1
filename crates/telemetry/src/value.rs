use alloy_primitives::U256;
use std::fmt::Write;

/// What a sample is. Whole numbers of any size are written exactly; Prometheus keeps them so up to
/// 2^53.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Whole(u64),
    Units(U256),
    /// A number that was written before: negative, or with decimals.
    Written(String),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<U256> for Value {
    fn from(units: U256) -> Self {
        u64::try_from(units).map_or(Self::Units(units), Self::Whole)
    }
}

impl From<String> for Value {
    fn from(number: String) -> Self {
        Self::Written(number)
    }
}

impl Value {
    pub(crate) fn write(&self, text: &mut String) {
        // A string takes everything.
        let _ = match self {
            // Most series of most offers.
            Self::Whole(0) => text.write_char('0'),
            Self::Whole(number) => write!(text, "{number}"),
            Self::Units(units) => write!(text, "{units}"),
            Self::Written(number) => text.write_str(number),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_to_the_last_digit() {
        let written = |value: Value| {
            let mut text = String::new();
            value.write(&mut text);
            text
        };
        assert_eq!(written(0u64.into()), "0");
        assert_eq!(written(u64::MAX.into()), u64::MAX.to_string());
        assert_eq!(written(U256::ZERO.into()), "0");
        assert_eq!(written(U256::MAX.into()), U256::MAX.to_string());
        assert_eq!(written("-1.50".to_owned().into()), "-1.50");
    }
}

use alloy_primitives::Address;

/// Why a text is not an address that money may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("{0:?} is not an address: write 0x and 40 hexadecimal digits")]
    Malformed(String),
    #[error(
        "{text} has a wrong checksum: a digit is mistyped, or its letters should read {expected} (EIP-55)"
    )]
    Checksum { text: String, expected: String },
    #[error("the zero address can receive nothing back; write the address that should be paid")]
    Zero,
}

/// Letters all of one case carry no checksum and are taken as they are; mixed case has to be
/// EIP-55's.
pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
    let malformed = || AddressError::Malformed(text.to_owned());
    let digits = text.strip_prefix("0x").ok_or_else(malformed)?;
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let address: Address = text.parse().map_err(|_| malformed())?;
    let mixed = digits.bytes().any(|byte| byte.is_ascii_lowercase())
        && digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let expected = address.to_checksum(None);
    if mixed && expected != text {
        return Err(AddressError::Checksum { text: text.to_owned(), expected });
    }
    if address.is_zero() {
        return Err(AddressError::Zero);
    }
    Ok(address)
}

//! Files of other wallets.

use obol_keystore::Sealed;

/// A keystore that is read survives being written again. Nothing is derived: what a file may cost
/// is checked before.
pub fn keystores(data: &[u8]) {
    let Ok(sealed) = Sealed::parse(data) else { return };
    let written = sealed.to_json();
    let again = Sealed::parse(written.as_bytes()).expect("what was written is read");
    assert!(again == sealed, "{written}");
    assert_eq!(again.to_json(), written);
}

//! Files that other programs wrote.

use obol_keystore::{OpenError, Password, Sealed};
use std::{fs, path::Path};

fn file(name: &str) -> Sealed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    Sealed::parse(&fs::read(&path).expect("the file")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned().into()).expect("not empty")
}

/// The specification's own (the Ethereum wiki's Web3 Secret Storage), Foundry's `cast` 1.7.1 and
/// Python's eth-account 0.14.0.
#[test]
fn the_published_vectors_and_other_programs_files_give_their_keys() {
    let wiki = ("0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b", None);
    let anvil = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    for (name, (address, claimed)) in [
        ("wiki-pbkdf2.json", wiki),
        ("wiki-scrypt.json", wiki),
        ("cast.json", (anvil, None)),
        ("eth-account.json", (anvil, Some(anvil))),
    ] {
        let sealed = file(name);
        assert_eq!(sealed.claimed_address().map(|address| address.to_checksum(None)).as_deref(), claimed);
        let secret = sealed.open(&password("testpassword")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(secret.address().to_checksum(None), address, "{name}");
        assert_eq!(sealed.open(&password("testpasswore")).err(), Some(OpenError::WrongPassword), "{name}");
        let written = Sealed::parse(sealed.to_json().as_bytes());
        assert!(written == Ok(sealed), "{name} is not the same when it is written again");
    }
}

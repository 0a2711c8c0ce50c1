//! What is not opened, each with its own words, and nothing secret in any of them.

use alloy_primitives::{Address, hex, keccak256};
use obol_keystore::{EmptyPassword, OpenError, Password, Sealed, Secret};

/// Anvil's first account, as `cast` wrote it.
const CAST: &str = include_str!("../testdata/cast.json");
const PBKDF2: &str = include_str!("../testdata/wiki-pbkdf2.json");

const PASSWORD: &str = "testpassword";
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn password(text: &str) -> Password {
    Password::new(text.to_owned().into()).expect("not empty")
}

fn parsed(text: &str) -> Sealed {
    Sealed::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// With the first `from` changed, which has to be there.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn assert_tells_nothing(said: &str) {
    for secret in [PASSWORD, KEY, &KEY[..16], &KEY[48..]] {
        assert!(!said.to_lowercase().contains(secret), "{said}");
    }
}

/// Refused for `expected`, and neither the sentence nor its Debug form repeats a secret.
fn assert_refused(text: &[u8], expected: &str) {
    let error = Sealed::parse(text).expect_err(expected);
    assert!(error.to_string().contains(expected), "{error}, not {expected}");
    assert_tells_nothing(&format!("{error}\n{error:?}"));
}

#[test]
fn a_file_that_is_not_a_good_keystore_is_refused_with_what_is_wrong() {
    for (from, to, expected) in [
        (r#""dklen":32"#, r#""dklen":16"#, "crypto.kdfparams.dklen is 16"),
        (r#""dklen":32,"#, "", "crypto.kdfparams.dklen is missing"),
        (r#""salt":"#, r#""salz":"#, "unknown"),
        (r#""salt":"dc"#, r#""salt":"xx"#, "crypto.kdfparams.salt is not 8 to 64 bytes in hex"),
        (r#""salt":"dc"#, r#""salt":"c"#, "crypto.kdfparams.salt is not 8 to 64 bytes in hex"),
        (r#""salt":""#, r#""salt":"00","":""#, "unknown"),
        (r#""kdf":"scrypt""#, r#""kdf":"argon2id""#, "its key derivation is \"argon2id\""),
        (r#""kdf":"scrypt","#, "", "crypto.kdf is missing"),
        (r#""kdf":"scrypt""#, r#""kdf":"pbkdf2""#, "crypto.kdfparams.prf is missing"),
        (r#""cipher":"aes-128-ctr""#, r#""cipher":"aes-128-cbc""#, "its cipher is \"aes-128-cbc\""),
        (r#""cipher":"aes-128-ctr","#, "", "crypto.cipher is missing"),
        (r#""iv":""#, r#""iv":"00"#, "crypto.cipherparams.iv is not 16 bytes"),
        (r#""iv":"#, r#""vi":"#, "unknown"),
        (r#""ciphertext":""#, r#""ciphertext":"00"#, "crypto.ciphertext is not 32 bytes"),
        (r#""mac":""#, r#""mac":"0"#, "crypto.mac is not 32 bytes"),
        (r#""mac":"#, r#""mac":null,"mac":"#, "there twice"),
        (r#""version":3"#, r#""version":1"#, "its version is not 3"),
        (r#""version":3"#, r#""version":"3""#, "its version is not 3"),
        (r#""version":3"#, r#""address":"0x1234","version":3"#, "address is not 20 bytes"),
        (r#","version":3"#, "", "version is missing"),
        (r#""crypto":"#, r#""krypto":"#, "crypto is missing"),
        (r#""version":3}"#, r#""version":3}}"#, "it is not JSON (line 1, column "),
        (r#""version":3}"#, r#""version":3"#, "it is not JSON"),
    ] {
        assert_refused(changed(CAST, from, to).as_bytes(), expected);
    }
    for field in ["cipherparams", "ciphertext", "kdfparams", "mac"] {
        let mut file: serde_json::Value = serde_json::from_str(CAST).expect("JSON");
        file["crypto"].as_object_mut().expect("an object").remove(field);
        assert_refused(file.to_string().as_bytes(), &format!("crypto.{field}"));
    }
}

#[test]
fn a_password_that_is_too_cheap_to_guess_or_too_dear_to_try_is_not_tried() {
    for (from, to, expected) in [
        (r#""n":8192"#, r#""n":4096"#, "guessed too cheaply (scrypt with n 4096, r 8, p 1;"),
        (r#""n":8192"#, r#""n":2"#, "guessed too cheaply"),
        (r#""n":8192,"p":1,"r":8"#, r#""n":2048,"p":64,"r":8"#, "guessed too cheaply"),
        (r#""r":8"#, r#""r":7"#, "guessed too cheaply"),
        (r#""r":8"#, r#""r":0"#, "guessed too cheaply"),
        (r#""p":1"#, r#""p":0"#, "guessed too cheaply"),
        (r#""n":8192"#, r#""n":9000"#, "no power of two"),
        (r#""n":8192"#, r#""n":1048576"#, "cost too much"),
        (r#""n":8192"#, r#""n":18446744073709551615"#, "cost too much"),
        (r#""n":8192"#, r#""n":18446744073709551616"#, "not of a keystore's form"),
        (r#""n":8192"#, r#""n":-8192"#, "not of a keystore's form"),
        (r#""n":8192"#, r#""n":8192.0"#, "not of a keystore's form"),
        (r#""n":8192"#, r#""n":8192,"n":16384"#, "there twice"),
        (r#""n":8192,"#, "", "crypto.kdfparams.n is missing"),
        (r#""p":1"#, r#""p":4294967295"#, "cost too much"),
        (r#""p":1"#, r#""p":513"#, "cost too much"),
        (r#""r":8"#, r#""r":4294967295"#, "cost too much"),
    ] {
        assert_refused(changed(CAST, from, to).as_bytes(), expected);
    }
    for (from, to, expected) in [
        ("262144", "9999", "guessed too cheaply (PBKDF2 with 9999 rounds"),
        ("262144", "10000001", "cost too much"),
        ("262144", "4294967296", "not of a keystore's form up to line 8,"),
        ("hmac-sha256", "hmac-sha512", "its PBKDF2 is made with \"hmac-sha512\""),
        ("\"c\": 262144,", "", "crypto.kdfparams.c is missing"),
    ] {
        assert_refused(changed(PBKDF2, from, to).as_bytes(), expected);
    }
}

/// geth's two costs, `cast`'s, ethers', Parity's, eth-keyfile's.
#[test]
fn what_programs_in_use_write_is_within_the_limits() {
    for (n, r, p) in [(1 << 18, 8, 1), (1 << 12, 8, 6), (1 << 13, 8, 1), (1 << 17, 8, 1), (1 << 18, 1, 8)] {
        parsed(&changed(CAST, r#""n":8192,"p":1,"r":8"#, &format!(r#""n":{n},"p":{p},"r":{r}"#)));
    }
    for rounds in [10_240, 262_144, 1_000_000] {
        parsed(&changed(PBKDF2, "262144", &rounds.to_string()));
    }
}

/// Before 2016 geth wrote `Crypto`; a name, a mnemonic and the like are wallets' own.
#[test]
fn what_wallets_add_or_spell_otherwise_passes() {
    for (from, to) in [
        (r#""crypto":"#, r#""Crypto":"#),
        (r#""version":3"#, r#""x-ethers":{"client":"ethers.js","mnemonicCounter":"00"},"version":3"#),
        (r#""mac":"a"#, r#""mac":"A"#),
        (r#""mac":""#, r#""mac":"0x"#),
        (r#","id":"#, r#","nonsense":"#),
    ] {
        let sealed = parsed(&changed(CAST, from, to));
        assert!(sealed == parsed(CAST), "{to}");
    }
    assert!(Sealed::parse(changed(CAST, r#""crypto":"#, r#""Crypto":{},"crypto":"#).as_bytes()).is_err());
}

#[test]
fn something_else_than_a_keystore_is_never_repeated() {
    let digits = "1".repeat(64);
    for (text, expected) in [
        (KEY, "it is not JSON"),
        (&digits, "not of a keystore's form"),
        (&format!("\"{KEY}\""), "not of a keystore's form"),
        (&format!("{{\"version\":\"{KEY}\"}}"), "its version is not 3"),
        (&format!("{{\"version\":3,\"crypto\":\"{KEY}\"}}"), "not of a keystore's form"),
        ("{}", "version is missing"),
        ("", "it is not JSON"),
        (&" ".repeat((1 << 16) + 1), "more than 65536 bytes"),
    ] {
        let error = Sealed::parse(text.as_bytes()).expect_err(expected);
        let said = format!("{error}\n{error:?}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&KEY[..16]) && !said.contains(&digits[..16]), "{said}");
    }
    assert_refused(b"\xff\xfe", "it is not JSON");
    assert_refused("[".repeat(60_000).as_bytes(), "it is not JSON");
}

#[test]
fn a_changed_byte_a_wrong_password_or_a_wrong_address_opens_nothing() {
    let wrong = Some(OpenError::WrongPassword);
    for (from, to) in [
        (r#""ciphertext":"0"#, r#""ciphertext":"1"#),
        (r#""mac":"a"#, r#""mac":"b"#),
        (r#""salt":"d"#, r#""salt":"e"#),
        (r#""n":8192"#, r#""n":16384"#),
    ] {
        assert_eq!(parsed(&changed(CAST, from, to)).open(&password(PASSWORD)).err(), wrong, "{to}");
    }
    for other in ["testpassworD", "testpassword ", "testpassword\n", "t"] {
        assert_eq!(parsed(CAST).open(&password(other)).err(), wrong, "{other:?}");
    }
    // The MAC does not cover the counter: the address does, where the file has one.
    let other = parsed(&changed(CAST, r#""iv":"a"#, r#""iv":"b"#)).open(&password(PASSWORD));
    assert_ne!(other.expect("a key").address(), address());
    let claimed = Address::repeat_byte(7);
    let sealed = parsed(&changed(CAST, r#""version":3"#, &format!(r#""address":"{claimed}","version":3"#)));
    assert_eq!(sealed.claimed_address(), Some(claimed));
    let error = sealed.open(&password(PASSWORD)).expect_err("another's");
    assert_eq!(error, OpenError::OtherAddress { claimed, found: address() });
    assert_tells_nothing(&format!("{error}\n{error:?}"));
}

fn address() -> Address {
    KEY.parse::<Secret>().expect("a key").address()
}

#[test]
fn what_is_sealed_is_opened_by_its_password_and_is_never_the_same_twice() {
    let secret: Secret = KEY.parse().expect("a key");
    let sealed = Sealed::seal(&secret, &password(PASSWORD)).expect("random numbers");
    let text = sealed.to_json();
    assert!(text.contains(r#""kdfparams":{"dklen":32,"n":262144,"p":1,"r":8,"#), "{text}");
    assert_tells_nothing(&text);
    let read = parsed(&text);
    assert_eq!(read.claimed_address(), Some(address()));
    let opened = read.open(&password(PASSWORD)).expect("its password");
    let digest = keccak256("x");
    assert_eq!(opened.key().sign(digest), secret.key().sign(digest));
    let again = Sealed::seal(&secret, &password(PASSWORD)).expect("random numbers");
    assert!(again != sealed, "salt and counter are random");
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let secret: Secret = KEY.parse().expect("a key");
    let sealed = parsed(CAST);
    for said in [
        format!("{:?}", password(PASSWORD)),
        format!("{secret:?} {:?}", secret.key()),
        format!("{sealed:?} {:?}", sealed.open(&password(PASSWORD))),
        format!("{:?}", sealed.open(&password("other"))),
        format!("{:?} {:?}", "zz".parse::<Secret>(), KEY[1..].parse::<Secret>()),
        format!("{:?}", hex::encode([0; 32]).parse::<Secret>()),
    ] {
        assert_tells_nothing(&said);
    }
    assert_eq!(Password::new(String::new().into()), Err(EmptyPassword));
}

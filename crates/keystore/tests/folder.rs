//! Files on disk: new, whole, for their owner alone.

use obol_keystore::{Folder, Name, Sealed, StoreError};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

const CAST: &[u8] = include_bytes!("../testdata/cast.json");

fn sealed() -> Sealed {
    Sealed::parse(CAST).expect("a keystore")
}

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn a_new_file_is_its_owners_alone_and_so_is_a_new_folder() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(root.path().join("a/wallets"));
    let path = folder.store(&name("shop"), &sealed()).expect("stored");
    assert_eq!(path, root.path().join("a/wallets/shop.json"));
    assert_eq!((mode(&path), mode(folder.path()), mode(&root.path().join("a"))), (0o600, 0o700, 0o700));
    assert_eq!(fs::read_to_string(&path).expect("read"), sealed().to_json());
    let left = fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(left, 1, "nothing is left beside it");
}

#[test]
fn nothing_is_ever_overwritten() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(root.path().to_owned());
    fs::write(root.path().join("file.json"), "mine").expect("written");
    fs::create_dir(root.path().join("folder.json")).expect("made");
    symlink(root.path().join("nowhere"), root.path().join("link.json")).expect("linked");
    for taken in ["file", "folder", "link"] {
        let refused = folder.store(&name(taken), &sealed());
        assert!(matches!(refused, Err(StoreError::Exists(_))), "{taken}: {refused:?}");
        assert!(matches!(folder.vacant(&name(taken)), Err(StoreError::Exists(_))), "{taken}");
    }
    assert_eq!(fs::read_to_string(root.path().join("file.json")).expect("read"), "mine");
    assert!(!root.path().join("nowhere").exists());
}

#[test]
fn of_many_who_take_a_name_at_once_one_gets_it() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(root.path().join("wallets"));
    let stored = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| folder.store(&name("one"), &sealed()))).collect();
        tries.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(stored.iter().filter(|stored| stored.is_ok()).count(), 1, "{stored:?}");
    assert!(stored.iter().all(|stored| matches!(stored, Ok(_) | Err(StoreError::Exists(_)))), "{stored:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_name_is_a_files_name_and_nothing_else() {
    for good in ["shop", "a", "Shop-2_b.old", "7", &"x".repeat(64)] {
        assert_eq!(name(good).to_string(), good);
    }
    for bad in [
        "",
        ".",
        "..",
        ".shop",
        "-shop",
        "_shop",
        "a/b",
        "../a",
        "a b",
        "a\n",
        "caf\u{e9}",
        "shop.json",
        "0xshop",
        &"x".repeat(65),
    ] {
        assert!(bad.parse::<Name>().is_err(), "{bad:?}");
    }
}

#[test]
fn every_file_is_listed_and_a_bad_one_on_itself() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(root.path().to_owned());
    folder.store(&name("shop"), &sealed()).expect("stored");
    let geth = "UTC--2026-11-24T14-46-59.000000000Z--f39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    fs::write(root.path().join(geth), CAST).expect("written");
    fs::write(root.path().join("bad.json"), "{}").expect("written");
    fs::write(root.path().join("large"), vec![b' '; 1 << 20]).expect("written");
    fs::write(root.path().join(".hidden"), "x").expect("written");
    fs::create_dir(root.path().join("folder")).expect("made");
    let entries = folder.list().expect("listed");
    let listed: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.sealed.is_ok())).collect();
    assert_eq!(listed, [(geth, true), ("bad", false), ("large", false), ("shop", true)]);
    assert_eq!(folder.find("shop"), Some(root.path().join("shop.json")));
    assert_eq!(folder.find(geth), Some(root.path().join(geth)));
    for other in ["other", "folder", "", ".", "..", "/etc/passwd", "./shop"] {
        assert_eq!(folder.find(other), None, "{other:?}");
    }
}

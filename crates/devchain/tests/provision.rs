//! Installing from npm: once, whole or not at all, and never needed again. The projects here
//! are empty, so that npm has nothing to download.

use obol_devchain::{Installed, NpmProject, ProvisionError, provision};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const EMPTY: NpmProject = NpmProject {
    name: "nothing",
    what: "no packages at all",
    manifest: r#"{"name":"nothing","version":"1.0.0","private":true}"#,
    lock: r#"{"name":"nothing","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"nothing","version":"1.0.0"}}}"#,
};

const BROKEN: NpmProject =
    NpmProject { name: "broken", what: "a broken list", lock: "no lock file", ..EMPTY };

async fn install(
    project: &NpmProject,
    cache: &Path,
    said: &mut Vec<String>,
) -> Result<Installed, ProvisionError> {
    project.install_in(cache, &mut |line| said.push(line.to_owned())).await
}

fn entries(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.retain(|name| !name.ends_with(".lock"));
    names
}

#[tokio::test]
async fn two_at_once_install_once() {
    let cache = tempfile::tempdir().expect("a folder");
    let (mut first, mut second) = (vec![], vec![]);
    let (one, other) =
        tokio::join!(install(&EMPTY, cache.path(), &mut first), install(&EMPTY, cache.path(), &mut second));
    assert_eq!(one.expect("installed").folder(), other.expect("installed").folder());
    let fetches = first.iter().chain(&second).filter(|line| line.starts_with("fetching")).count();
    assert_eq!(fetches, 1, "{first:?} {second:?}");
    assert!(second.iter().any(|line| line.contains("waiting")), "{second:?}");
    assert_eq!(entries(cache.path()).len(), 1);

    let mut again = vec![];
    install(&EMPTY, cache.path(), &mut again).await.expect("there");
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_failed_installation_leaves_nothing_and_says_why() {
    let cache = tempfile::tempdir().expect("a folder");
    let error = install(&BROKEN, cache.path(), &mut vec![]).await.expect_err("no lock file");
    let words = error.to_string();
    assert!(words.starts_with("npm could not fetch a broken list (exit status: 1): code EUSAGE "), "{words}");
    assert!(words.contains("; see that npm reaches its registry"), "{words}");
    assert!(entries(cache.path()).is_empty(), "{:?}", entries(cache.path()));
}

#[tokio::test]
async fn the_remains_of_a_killed_installation_are_cleared() {
    let cache = tempfile::tempdir().expect("a folder");
    let installed = install(&EMPTY, cache.path(), &mut vec![]).await.expect("installed");
    let name = installed.folder().file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let remains = cache.path().join(format!("{name}.part-killed"));
    fs::rename(installed.folder(), &remains).expect("renamed");
    install(&EMPTY, cache.path(), &mut vec![]).await.expect("installed");
    assert_eq!(entries(cache.path()), [name]);
}

#[tokio::test]
async fn scripts_stand_beside_the_packages_under_a_name_by_content() {
    let cache = tempfile::tempdir().expect("a folder");
    let installed = install(&EMPTY, cache.path(), &mut vec![]).await.expect("installed");
    let one = installed.script("pay", "one").expect("placed");
    let two = installed.script("pay", "two").expect("placed");
    assert_eq!(one.parent(), Some(installed.folder()));
    assert_eq!(fs::read_to_string(installed.script("pay", "one").expect("there")).expect("text"), "one");
    assert_eq!(fs::read_to_string(two).expect("text"), "two");
}

/// Environment variables belong to a process, so this case runs in one of its own.
const CASE: &str = "OBOL_TEST_CASE";

fn run(name: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", name])
        .env(CASE, "1")
        .env_remove("ANVIL_BIN")
        .envs(variables.iter().copied())
        .output()
        .expect("a child")
}

#[tokio::test]
async fn what_is_missing_is_said_in_one_sentence() {
    if std::env::var_os(CASE).is_some() {
        let error = provision(&mut |_| {}).await.expect_err("nothing there");
        return println!("\nsaid: {error}");
    }
    let cache = tempfile::tempdir().expect("a folder");
    let cache = cache.path().to_str().expect("UTF-8");
    for (variables, expected) in [
        (
            &[("PATH", "/nowhere"), ("OBOL_CACHE_DIR", cache)][..],
            "said: npm is needed once to fetch the parts of a local chain (anvil, Circle's USDC); install Node.js",
        ),
        (&[("ANVIL_BIN", "/nowhere/anvil")], "said: ANVIL_BIN is /nowhere/anvil, which is no file"),
        (
            &[("OBOL_CACHE_DIR", "relative")],
            "said: OBOL_CACHE_DIR is relative, which is not an absolute path",
        ),
        (
            &[("OBOL_CACHE_DIR", ""), ("XDG_CACHE_HOME", ""), ("HOME", "")],
            "said: no folder to keep downloads in: ",
        ),
    ] {
        let output = run("what_is_missing_is_said_in_one_sentence", variables);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.lines().any(|line| line.starts_with(expected)), "{expected}\n{text}");
    }
}

//! The arrows between crates, held against what their manifests declare. ARCHITECTURE.md says why
//! they point this way.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Crates of the domain: they know neither a role nor a web framework.
const DOMAIN: [&str; 6] =
    ["obol-core", "obol-wire", "obol-evm", "obol-keystore", "obol-ledger", "obol-telemetry"];

/// Crates that are a role of the executable, today's and those that the design names.
const ROLES: [&str; 6] = [
    "obol-verifier",
    "obol-facilitator-server",
    "obol-buyer",
    "obol-signer",
    "obol-controller",
    "obol-console",
];

/// What serves HTTP, or builds on something that does.
const SERVERS: [&str; 8] =
    ["hyper", "hyper-util", "http-body-util", "axum", "actix-web", "warp", "tower-http", "tonic"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// None for what the crate itself needs; `dev` and `build` otherwise.
    kind: Option<String>,
}

/// Crates that hold the product to its word. They are no part of it, and may name anything.
const PROVING: [&str; 2] = ["obol-tests", "obol-benches"];

/// What each crate of the product declares, without what only its tests need.
type Declared = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cargo(args: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output()?;
    ensure!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn metadata() -> Result<Metadata> {
    Ok(serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"])?)?)
}

fn declared() -> Result<Declared> {
    let metadata = metadata()?;
    let needs = |package: &Package| {
        let own = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
        own.map(|dependency| dependency.name.clone()).collect()
    };
    let product = metadata.packages.iter().filter(|package| !PROVING.contains(&package.name.as_str()));
    Ok(product.map(|package| (package.name.clone(), needs(package))).collect())
}

fn who_names<'a>(declared: &'a Declared, dependency: &str) -> Vec<&'a str> {
    let naming = declared.iter().filter(|(_, needs)| needs.contains(dependency));
    naming.map(|(name, _)| name.as_str()).collect()
}

/// Everything of the workspace that a crate is built on.
fn below(declared: &Declared, crate_name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![crate_name.to_owned()];
    while let Some(name) = next.pop() {
        for need in declared.get(&name).into_iter().flatten() {
            if declared.contains_key(need) && found.insert(need.clone()) {
                next.push(need.clone());
            }
        }
    }
    found
}

/// The text of all sources below a folder.
fn sources(folder: &Path) -> Result<String> {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            all.push_str(&sources(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(all)
}

#[test]
fn every_crate_uses_what_it_declares() -> Result<()> {
    let mut unused = Vec::new();
    for package in metadata()?.packages {
        let folder = package.manifest_path.parent().context("a manifest has a folder")?;
        let (own, all) = (sources(&folder.join("src"))?, sources(folder)?);
        for Dependency { name, kind } in package.dependencies {
            let named = [format!("{}::", name.replace('-', "_")), format!("use {};", name.replace('-', "_"))];
            let text = if kind.is_none() { &own } else { &all };
            // Its features are passed on: that is its use.
            let passed_on = (package.name.as_str(), name.as_str()) == ("obol", "obol-stop");
            if !passed_on && !named.iter().any(|named| text.contains(named)) {
                unused.push(format!("{}: {name}", package.name));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
    Ok(())
}

#[test]
fn the_domain_knows_no_role_and_no_server() -> Result<()> {
    let declared = declared()?;
    for name in DOMAIN {
        let needs = declared.get(name).with_context(|| format!("no crate {name}"))?;
        let servers: Vec<_> = SERVERS.into_iter().filter(|server| needs.contains(*server)).collect();
        assert!(servers.is_empty(), "{name} names {servers:?}");
        let below = below(&declared, name);
        let roles: Vec<_> = ROLES.into_iter().filter(|role| below.contains(*role)).collect();
        assert!(roles.is_empty(), "{name} is built on {roles:?}");
    }
    Ok(())
}

/// The chain's endpoint is reached over hyper's client; its server must not come along.
#[test]
fn no_domain_crate_is_built_with_the_server_of_hyper() -> Result<()> {
    for name in DOMAIN {
        let tree = cargo(&[
            "tree",
            "--locked",
            "--offline",
            "--package",
            name,
            "--edges",
            "normal,features",
            "--prefix",
            "none",
        ])?;
        let server = tree.lines().find(|line| line.starts_with("hyper feature \"server\""));
        assert_eq!(server, None, "{name}");
        assert!(tree.starts_with(name), "not the tree of {name}: {tree}");
    }
    Ok(())
}

#[test]
fn one_crate_each_names_the_rpc_client_and_the_database() -> Result<()> {
    let declared = declared()?;
    for client in ["alloy-rpc-client", "alloy-json-rpc", "alloy-transport"] {
        assert_eq!(who_names(&declared, client), ["obol-evm"], "{client}");
    }
    assert_eq!(who_names(&declared, "rusqlite"), ["obol-ledger"]);
    Ok(())
}

#[test]
fn roles_do_not_depend_on_each_other_and_only_the_executable_depends_on_them() -> Result<()> {
    let declared = declared()?;
    for role in ROLES {
        let below = below(&declared, role);
        let others: Vec<_> = ROLES.into_iter().filter(|other| below.contains(*other)).collect();
        assert!(others.is_empty(), "{role} is built on {others:?}");
        for name in who_names(&declared, role) {
            assert!(name == "obol", "{name} depends on {role}");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_built_on_the_executable_and_the_local_chain_is_no_part_of_the_money_path() -> Result<()> {
    let declared = declared()?;
    assert_eq!(who_names(&declared, "obol"), Vec::<&str>::new());
    for name in DOMAIN.into_iter().chain(ROLES).chain(["obol-api", "obol-facilitator"]) {
        assert!(!below(&declared, name).contains("obol-devchain"), "{name} is built on the local chain");
    }
    Ok(())
}

/// All is built on `core`, and `stop` is nothing in a release: these are not drawn.
#[test]
fn the_drawing_in_architecture_md_has_each_arrow_and_no_other() -> Result<()> {
    let short = |name: &str| name.strip_prefix("obol-").unwrap_or(name).to_owned();
    let mut expected = BTreeSet::new();
    let declared = declared()?;
    for (name, needs) in &declared {
        let drawn = needs.iter().filter(|need| !matches!(need.as_str(), "obol-core" | "obol-stop"));
        expected
            .extend(drawn.filter(|need| declared.contains_key(*need)).map(|need| (short(name), short(need))));
    }
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let (_, drawing) = page.split_once("graph TD\n").context("no drawing")?;
    let mut drawn = BTreeSet::new();
    for line in drawing.lines().take_while(|line| !line.starts_with("```")) {
        let (from, to) = line.trim().split_once(" --> ").context("not an arrow")?;
        drawn.extend(to.split(" & ").map(|to| (from.to_owned(), to.to_owned())));
    }
    assert_eq!(drawn, expected);
    Ok(())
}

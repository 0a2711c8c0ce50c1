//! Where commands run, and what is known of the documents that they print.

use anyhow::{Context, Result, ensure};
use jsonschema::Validator;
use obol_devchain::USDC;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

pub(crate) struct Desk {
    home: TempDir,
    schemas: BTreeMap<String, Validator>,
    seen: BTreeSet<String>,
}

impl Desk {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { home: tempfile::tempdir()?, schemas: BTreeMap::new(), seen: BTreeSet::new() })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file of the user's own.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home().join(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?)
    }

    /// A command of a user who has set nothing.
    pub(crate) fn obol(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
        command.args(words.split_whitespace()).current_dir(self.home()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OBOL_")) {
            if name != "OBOL_CACHE_DIR" {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home()).env("OBOL_WALLET_PASSWORD", "correct horse").env("NO_PROXY", "*");
        command
    }

    /// The document of a command that ends with this code.
    pub(crate) fn prints(&mut self, command: &str, more: &str, code: i32) -> Result<Value> {
        let output = self.obol(&format!("{command} {more} --output json")).output()?;
        let (text, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(code), "{command} {more}: {}: {said}", output.status);
        ensure!(text.lines().count() == 1 && text.ends_with('\n'), "{command} {more}: {text:?}; {said}");
        self.accepts(command, &text)
    }

    /// Each line of an export.
    pub(crate) fn exports(&mut self, more: &str) -> Result<()> {
        let output = self.obol(&format!("ledger export --format jsonl {more}")).output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && text.lines().count() > 1, "{text:?}");
        text.lines().try_for_each(|line| self.accepts("ledger export", line).map(drop))
    }

    /// Reads a document that has to be of the command's form.
    pub(crate) fn accepts(&mut self, command: &str, text: &str) -> Result<Value> {
        let document = serde_json::from_str(text).with_context(|| format!("{command}: {text:?}"))?;
        let faults: Vec<_> = self
            .schema(command)?
            .iter_errors(&document)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        ensure!(faults.is_empty(), "{command}: {faults:#?} in {document:#}");
        self.seen.insert(command.to_owned());
        Ok(document)
    }

    pub(crate) fn is_valid(&mut self, command: &str, document: &Value) -> Result<bool> {
        Ok(self.schema(command)?.is_valid(document))
    }

    fn schema(&mut self, command: &str) -> Result<&Validator> {
        if !self.schemas.contains_key(command) {
            let printed = self.obol(&format!("schema {command}")).output()?.stdout;
            let validator = jsonschema::draft202012::new(&serde_json::from_slice(&printed)?)?;
            self.schemas.insert(command.to_owned(), validator);
        }
        self.schemas.get(command).context("just inserted")
    }

    /// No command has a schema that was held against nothing.
    pub(crate) fn all_were_seen(&self) -> Result<()> {
        let listed = String::from_utf8(self.obol("schema").output()?.stdout)?;
        let listed: BTreeSet<_> = listed.lines().map(str::to_owned).collect();
        ensure!(listed == self.seen, "{:?}", listed.symmetric_difference(&self.seen));
        Ok(())
    }
}

/// A demo that runs until it is dropped.
pub(crate) struct Demo {
    process: Child,
    pub(crate) rpc: String,
    /// What it sells; empty when it is the chain only, as the rest.
    pub(crate) service: String,
    pub(crate) ledger: String,
    pub(crate) offers: String,
}

impl Demo {
    pub(crate) fn start(desk: &mut Desk, more: &[&str]) -> Result<Self> {
        let mut command = desk.obol("demo --output json");
        // Its tools are in the cache of whoever runs the tests.
        command.envs(std::env::vars_os().filter(|(name, _)| name == "HOME"));
        let mut process = command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = process.stdout.take().context("stdout")?;
        let [rpc, service, ledger, offers] = [(); 4].map(|()| String::new());
        // From here on it is stopped, whatever comes.
        let mut demo = Self { process, rpc, service, ledger, offers };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told = desk.accepts("demo", &line)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        demo.rpc = text(&told["urls"]["rpc"]);
        demo.service = text(&told["urls"]["service"]);
        (demo.ledger, demo.offers) = (text(&told["ledger"]), text(&told["offers"]));
        Ok(demo)
    }

    pub(crate) fn mine(&self, blocks: u64) -> Result<()> {
        self.ask("anvil_mine", &json!([blocks]))
    }

    /// A transfer of USDC that buys nothing, in a block.
    pub(crate) fn give(&self, from: &str, to: &str, amount: u64) -> Result<()> {
        let to = to.strip_prefix("0x").context("an address")?;
        let data = format!("0xa9059cbb{to:0>64}{amount:064x}");
        let transaction = json!({"from": from, "to": USDC.to_checksum(None), "data": data});
        self.ask("eth_sendTransaction", &json!([transaction]))?;
        self.mine(1)
    }

    fn ask(&self, method: &str, params: &Value) -> Result<()> {
        let host = self.rpc.strip_prefix("http://").context("http")?.trim_end_matches('/');
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{call}",
            call.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200") && !answer.contains("error"), "{answer}");
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // As Ctrl-C would, so that its chain goes with it; it may have ended by itself.
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

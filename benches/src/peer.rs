//! Processes that are measured or needed for measuring: started, found listening, and never
//! left behind.

use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// A server in a process of its own, made of this executable. It ends when it is dropped, and
/// when this process ends in any way: its standard input is closed then.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn start<I>(arguments: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a server from this executable")?;
        let questions = process.stdin.take().context("its input is piped")?;
        let mut answers = BufReader::new(process.stdout.take().context("its output is piped")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let address = line.trim().parse().context("a server ended before it listened");
        let mut peer = Self { process, questions, answers, address: ([0, 0, 0, 0], 0).into() };
        peer.address = address?;
        Ok(peer)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_time(&mut self) -> Result<Duration> {
        self.questions.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(Duration::from_nanos(line.trim().parse().context("a server has died")?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// An `obol` process. A shell that waits for the end of a pipe from here kills it when this
/// process dies without dropping anything.
#[derive(Debug)]
pub(crate) struct Obol {
    watchdog: Child,
    process: Child,
}

impl Obol {
    pub(crate) fn start(arguments: &[&OsStr]) -> Result<Self> {
        let path = executable()?;
        let process = Command::new(&path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\"", &process.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { watchdog, process })
    }

    /// Bytes of memory that it has in RAM.
    pub(crate) fn resident(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS in kB")?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Obol {
    fn drop(&mut self) {
        // First: it must not fire at a process id that may already be another's.
        end(&mut self.watchdog);
        end(&mut self.process);
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

/// `obol`, which is built into the same folder.
fn executable() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("obol");
    if !path.is_file() {
        bail!("{} is not there; run make bench, which builds it", path.display());
    }
    Ok(path)
}

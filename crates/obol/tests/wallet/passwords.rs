//! Where a password comes from.

use crate::home::{ADDRESS, Home, KEY, PASSWORD, refused, said};
use anyhow::{Context, Result, ensure};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

#[test]
fn without_a_password_and_a_terminal_it_says_how_to_give_one() -> Result<()> {
    let home = Home::new()?;
    let said = refused(&mut home.obol("new shop"), 4)?;
    for words in ["password of shop", "no terminal", "--password-file", "OBOL_WALLET_PASSWORD"] {
        ensure!(said.contains(words), "{said}");
    }
    let key = home.file("key", KEY)?;
    home.done(&format!("import shop --key-file {key}"))?;
    let said = refused(&mut home.obol("address shop --check"), 4)?;
    ensure!(said.contains("no terminal"), "{said}");
    assert_eq!(said_address(&home)?, ADDRESS, "which needs none");
    Ok(())
}

fn said_address(home: &Home) -> Result<String> {
    let output = home.obol("address shop").output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[test]
fn an_empty_password_is_refused_wherever_it_comes_from() -> Result<()> {
    let home = Home::new()?;
    let empty = home.file("empty", "\n")?;
    let said = home.refused(&format!("new shop --password-file {empty}"), 4)?;
    ensure!(said.contains("--password-file") && said.contains("empty"), "{said}");
    let said = refused(home.obol("new shop").env("OBOL_WALLET_PASSWORD", ""), 4)?;
    ensure!(said.contains("OBOL_WALLET_PASSWORD: the password is empty"), "{said}");
    let said = refused(home.obol("new shop").env("OBOL_WALLET_PASSWORD", OsStr::from_bytes(b"\xff")), 4)?;
    ensure!(said.contains("not UTF-8"), "{said}");
    ensure!(!home.wallets().exists(), "nothing was made");
    Ok(())
}

#[test]
fn the_file_goes_before_the_variable_and_loses_one_newline() -> Result<()> {
    let home = Home::new()?;
    let (key, password) = (home.file("key", KEY)?, home.file("password", "from the file\n")?);
    let import = format!("import shop --key-file {key} --password-file {password}");
    ensure!(home.obol(&import).env("OBOL_WALLET_PASSWORD", PASSWORD).output()?.status.success());
    let check = |password: &str| {
        let output = home.obol("address shop --check").env("OBOL_WALLET_PASSWORD", password).output()?;
        anyhow::Ok(output.status.code())
    };
    assert_eq!(
        (check("from the file")?, check("from the file\n")?, check(PASSWORD)?),
        (Some(0), Some(4), Some(4))
    );
    Ok(())
}

#[test]
fn a_password_or_key_that_others_can_read_is_warned_of() -> Result<()> {
    let home = Home::new()?;
    let (key, password) = (home.file("key", KEY)?, home.file("password", PASSWORD)?);
    for path in [&key, &password] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    let output = home.obol(&format!("import shop --key-file {key} --password-file {password}")).output()?;
    let log = said(&output);
    ensure!(output.status.success(), "{log}");
    for path in [&key, &password] {
        ensure!(log.contains(&format!("chmod 600 {path}")), "{log}");
    }
    ensure!(!log.contains(PASSWORD) && !log.contains(&KEY[2..]), "{log}");
    Ok(())
}

/// A command on a terminal, and what it shows there.
struct Typed {
    child: Child,
    keyboard: File,
    screen: Receiver<u8>,
    seen: String,
}

impl Typed {
    fn start(command: &Command) -> Result<Self> {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&pty)?;
        unlockpt(&pty)?;
        let name = ptsname(&pty, Vec::new())?;
        let terminal = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()))?;
        let mut typed = Command::new("setsid");
        typed.args(["--wait", "--ctty"]).args(command.get_args().skip(1));
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => typed.env(variable, value),
                None => typed.env_remove(variable),
            };
        }
        let child = typed
            .stdin(terminal.try_clone()?)
            .stdout(Stdio::null())
            .stderr(terminal)
            .current_dir(command.get_current_dir().context("a folder")?)
            .spawn()?;
        let keyboard = File::from(pty);
        let (mut from, (sender, screen)) = (keyboard.try_clone()?, channel());
        std::thread::spawn(move || {
            let mut byte = [0];
            // It ends with an error when the last program has left the terminal.
            while from.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
        });
        Ok(Self { child, keyboard, screen, seen: String::new() })
    }

    fn answer(&mut self, question: &str, answer: &str) -> Result<()> {
        let from = self.seen.len();
        while !self.seen[from..].contains(question) {
            let byte = self.screen.recv_timeout(Duration::from_secs(60));
            self.seen.push(byte.with_context(|| format!("no {question:?} in {:?}", self.seen))?.into());
        }
        self.keyboard.write_all(answer.as_bytes())?;
        Ok(())
    }

    /// The exit code, and all that was to be seen.
    fn end(mut self) -> Result<(Option<i32>, String)> {
        let status = self.child.wait()?;
        let shows = tcgetattr(&self.keyboard)?.local_modes;
        ensure!(shows.contains(LocalModes::ECHO | LocalModes::ISIG), "it is as it was before: {shows:?}");
        while let Ok(byte) = self.screen.recv_timeout(Duration::from_millis(200)) {
            self.seen.push(byte.into());
        }
        Ok((status.code(), self.seen))
    }
}

#[test]
fn on_a_terminal_a_new_password_is_asked_for_twice_and_not_shown() -> Result<()> {
    let home = Home::new()?;
    let mut typed = Typed::start(&home.obol("new shop"))?;
    typed.answer("the new password of shop: ", &format!("{PASSWORD}\n"))?;
    typed.answer("again: ", &format!("{PASSWORD}\n"))?;
    let (code, seen) = typed.end()?;
    assert_eq!(code, Some(0), "{seen}");
    ensure!(!seen.contains(PASSWORD), "{seen}");
    let mut typed = Typed::start(&home.obol("address shop --check"))?;
    typed.answer("shop.json: ", &format!("{PASSWORD}\n"))?;
    let (code, seen) = typed.end()?;
    assert_eq!(code, Some(0), "{seen}");
    ensure!(!seen.contains("again"), "an old one is asked for once: {seen}");
    Ok(())
}

#[test]
fn two_passwords_that_differ_an_empty_one_and_ctrl_c_make_no_wallet() -> Result<()> {
    let home = Home::new()?;
    for (first, second, expected) in [
        ("one\n", Some("two\n"), "the two passwords differ"),
        ("\n", None, "the password is empty"),
        ("one\u{1a}\n", None, "it has a control character"),
        ("\u{4}", None, "it was stopped"),
        ("one\u{3}", None, "was not read: it was stopped; nothing was done"),
    ] {
        let mut typed = Typed::start(&home.obol("new shop"))?;
        typed.answer("the new password of shop: ", first)?;
        if let Some(second) = second {
            typed.answer("again: ", second)?;
        }
        let (code, seen) = typed.end()?;
        ensure!(code == Some(4) && seen.contains(expected), "{code:?} {seen}");
    }
    let there = fs::metadata(home.wallets()).map_err(|error| error.kind());
    assert_eq!(there.err(), Some(ErrorKind::NotFound));
    Ok(())
}

//! A question to whoever sits at the terminal, whose answer is not shown.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, Read, Write},
};
use zeroize::Zeroizing;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unasked {
    NoTerminal,
    /// Ctrl-C, or Ctrl-D.
    Stopped,
    /// Ctrl-Z and the like, which do nothing here but would be part of the answer unseen.
    ControlCharacter,
    NotText,
    Io(io::Error),
}

impl std::fmt::Display for Unasked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoTerminal => f.write_str("there is no terminal"),
            Self::Stopped => f.write_str("it was stopped"),
            Self::ControlCharacter => f.write_str("it has a control character"),
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Unasked {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What the terminal takes for one line.
const LONGEST: usize = 4096;

const CTRL_C: u8 = 3;

/// The terminal's own line editing works; the line comes in one read.
pub(crate) fn ask(words: &str) -> Result<Zeroizing<String>, Unasked> {
    let terminal =
        File::options().read(true).write(true).open("/dev/tty").map_err(|_| Unasked::NoTerminal)?;
    let mut line = Zeroizing::new(vec![0; LONGEST]);
    let read = {
        let _quiet = Quiet::new(&terminal)?;
        // Only now: who answers at once is not shown either.
        write!(&terminal, "{words}: ")?;
        (&terminal).read(&mut line)?
    };
    let answer = match line.get(..read) {
        None | Some([] | [.., CTRL_C]) => return Err(Unasked::Stopped),
        Some([answer @ .., b'\n'] | answer) => answer,
    };
    match std::str::from_utf8(answer) {
        Err(_) => Err(Unasked::NotText),
        Ok(text) if text.contains(char::is_control) => Err(Unasked::ControlCharacter),
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// While it lives the terminal shows nothing, and Ctrl-C ends the line: as a signal it would end
/// the process and leave a terminal that shows nothing.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // There is nobody to tell: the terminal has gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

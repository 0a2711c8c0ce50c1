//! A password is read from a file, the environment or the terminal, and never from the command
//! line, which every user of the machine can see.

use crate::{
    exit::Failure,
    secret_file,
    terminal::{self, Unasked},
};
use obol_keystore::Password;
use std::{env, path::Path};
use zeroize::Zeroizing;

/// Where a password may come from: the file first, then the variable, then the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PasswordSource<'a> {
    /// In messages, such as "the password of shop".
    pub(crate) what: &'a str,
    pub(crate) flag: &'static str,
    pub(crate) file: Option<&'a Path>,
    pub(crate) variable: &'static str,
}

/// A password that was given and cannot be one.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// The flag or the variable.
    pub(crate) setting: &'static str,
    pub(crate) why: String,
}

/// What is asked of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Once,
    /// It is new: a slip would lock its owner out.
    Twice,
}

impl PasswordSource<'_> {
    pub(crate) fn read(&self, prompt: Prompt) -> Result<Password, Failure> {
        match self.given() {
            Ok(Some(password)) => Ok(password),
            Ok(None) => self.ask(prompt).map_err(Failure::config),
            Err(Unusable { setting, why }) => Err(Failure::config(format!("{setting}: {why}"))),
        }
    }

    /// What was given, without asking anybody.
    pub(crate) fn given(&self) -> Result<Option<Password>, Unusable> {
        let Self { flag, variable, .. } = *self;
        if let Some(path) = self.file {
            let shown = path.display();
            let unusable = |why| Unusable { setting: flag, why };
            let text = secret_file::read("the password", path).map_err(|error| {
                unusable(format!("{shown} cannot be read: {error}; name a file with the password alone"))
            })?;
            return Password::new(without_newline(text))
                .map(Some)
                .map_err(|error| unusable(format!("{shown}: {error}; choose one")));
        }
        let unusable = |why| Unusable { setting: variable, why };
        match env::var(variable) {
            Ok(text) => Password::new(Zeroizing::new(text))
                .map(Some)
                .map_err(|error| unusable(format!("{error}; choose one, or unset it"))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(unusable(format!("it is not UTF-8; give the password in a file, as {flag}")))
            }
        }
    }

    fn ask(&self, prompt: Prompt) -> Result<Password, String> {
        let Self { what, flag, variable, .. } = self;
        let typed = |words: &str| {
            terminal::ask(words).map_err(|error| match error {
                Unasked::NoTerminal => format!(
                    "{what} is needed, and there is no terminal to ask on; give it as {flag} <FILE> or in {variable}"
                ),
                other => format!("{what} was not read: {other}; nothing was done"),
            })
        };
        let password =
            Password::new(typed(what)?).map_err(|error| format!("{error}; start again and choose one"))?;
        match prompt {
            Prompt::Twice if Password::new(typed("again")?).as_ref() != Ok(&password) => {
                Err("the two passwords differ; start again".to_owned())
            }
            _ => Ok(password),
        }
    }
}

/// Editors and `echo` end a file with one that nobody means.
fn without_newline(mut text: Zeroizing<String>) -> Zeroizing<String> {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_no_part_of_a_password() {
        for (text, password) in [
            ("word", "word"),
            ("word\n", "word"),
            ("word\r\n", "word"),
            ("word\n\n", "word\n"),
            (" two words \n", " two words "),
            ("\n", ""),
            ("word\r", "word\r"),
        ] {
            assert_eq!(without_newline(text.to_owned().into()).as_str(), password, "{text:?}");
        }
    }
}

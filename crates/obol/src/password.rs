//! A password is read from a file, the environment or the terminal, and never from the command
//! line, which every user of the machine can see.

use crate::{exit::Failure, secret_file};
use obol_keystore::Password;
use std::{env, io, path::Path};
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

/// What is asked of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Once,
    /// It is new: a slip would lock its owner out.
    Twice,
}

impl PasswordSource<'_> {
    pub(crate) fn read(&self, prompt: Prompt) -> Result<Password, Failure> {
        match self.given().map_err(Failure::config)? {
            Some(password) => Ok(password),
            None => self.ask(prompt).map_err(Failure::config),
        }
    }

    /// What was given without asking anybody.
    fn given(&self) -> Result<Option<Password>, String> {
        let Self { flag, variable, .. } = self;
        if let Some(path) = self.file {
            let shown = path.display();
            let text = secret_file::read("the password", path).map_err(|error| {
                format!("{flag}: {shown} cannot be read: {error}; name a file with the password alone")
            })?;
            let password = Password::new(without_newline(text));
            return password.map(Some).map_err(|error| format!("{flag}: {shown}: {error}; choose one"));
        }
        match env::var(variable) {
            Ok(text) => Password::new(Zeroizing::new(text))
                .map(Some)
                .map_err(|error| format!("{variable}: {error}; choose one, or unset it to be asked")),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(format!("{variable} is not UTF-8; give the password in a file, as {flag}"))
            }
        }
    }

    fn ask(&self, prompt: Prompt) -> Result<Password, String> {
        let Self { what, flag, variable, .. } = self;
        let prompted = |words: &str| {
            rpassword::prompt_password(format!("{words}: ")).map(Zeroizing::new).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::Interrupted => "stopped; nothing was done".to_owned(),
                    _ => format!(
                        "{what} is needed, and there is no terminal to ask on; give it as {flag} <FILE> or in {variable}"
                    ),
                }
            })
        };
        let password = Password::new(prompted(&capitalized(what))?)
            .map_err(|error| format!("{error}; start again and choose one"))?;
        match prompt {
            Prompt::Twice if Password::new(prompted("Again")?).as_ref() != Ok(&password) => {
                Err("the two passwords differ; start again".to_owned())
            }
            _ => Ok(password),
        }
    }
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
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

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What keeps a document, a file or the folder from being sold as it is written, for the
/// operator who has to mend it. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// Counted from one in the file; none when the fault is the file's as a whole.
    pub line: Option<u32>,
    /// Such as `spec.payments[1].price.perRequest`; empty when no field is at fault.
    pub field: String,
    /// What is wrong and what to do, without file, line and field.
    pub message: String,
}

impl Fault {
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, field: String::new(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// The faults of one document, gathered while it is read to its end.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    file: &'a Path,
    list: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(file: &'a Path) -> Self {
        Self { file, list: Vec::new() }
    }

    pub(crate) fn add(&mut self, line: u32, field: impl Into<String>, message: impl Into<String>) {
        self.list.push(Fault {
            file: self.file.to_owned(),
            line: Some(line),
            field: field.into(),
            message: message.into(),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the document.
    pub(crate) fn into_vec(mut self) -> Vec<Fault> {
        self.list.sort_by_key(|fault| fault.line);
        self.list
    }
}

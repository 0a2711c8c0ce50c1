use std::fmt;

/// Which paths an offer is sold at. Texts begin with a slash, and end with none but for `/` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This path and everything below it.
    Below(String),
    /// This path alone.
    Exact(String),
    /// A path in which `*` stands for one whole segment, and at the end for one or more. Its first
    /// `*` is not its last segment: that would be everything below a path.
    Glob(String),
}

impl Pattern {
    /// As it is written, but for the `/*` of everything below a path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Below(path) | Self::Exact(path) | Self::Glob(path) => path,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(path) | Self::Glob(path) => f.write_str(path),
            Self::Exact(path) => write!(f, "{path} alone"),
        }
    }
}

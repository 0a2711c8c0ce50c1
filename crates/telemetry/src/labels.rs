use std::fmt::Write;

/// The labels of a series, ready to be written: the same at every scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<str>);

impl Labels {
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::new();
        push(&mut text, labels);
        Self(text.into())
    }

    /// With more of them behind.
    pub fn with<'a>(&self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::from(&*self.0);
        push(&mut text, more);
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn push<'a>(text: &mut String, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        // A string takes everything.
        let _ = write!(text, "{comma}{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_label_or_its_line() {
        let labels = Labels::new([("offer", "a\"} 1\nb\\")]).with([("chain", "eip155:1")]);
        assert_eq!(labels.as_str(), r#"offer="a\"} 1\nb\\",chain="eip155:1""#);
    }
}

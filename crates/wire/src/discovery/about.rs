//! What a seller says of a resource to people. It is shown to others, so only what is plain is kept.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Characters of a description; more are cut off.
const DESCRIPTION: usize = 500;
/// Characters of a name, a tag and a type, as the published packages have them.
const NAME: usize = 32;
const MIME_TYPE: usize = 100;
const TAGS: usize = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl About {
    /// Without what is too long or not plain.
    pub(super) fn plain(self) -> Self {
        let short = |most: usize| move |text: &String| is_plain(text, most);
        let described = self.description.map(|text| {
            text.chars().filter(|character| !character.is_control()).take(DESCRIPTION).collect::<String>()
        });
        let mut seen = HashSet::new();
        let tags = self.tags.into_iter().filter(short(NAME));
        Self {
            description: described.filter(|text| !text.is_empty()),
            mime_type: self.mime_type.filter(short(MIME_TYPE)),
            service_name: self.service_name.filter(short(NAME)),
            tags: tags.filter(|tag| seen.insert(tag.to_lowercase())).take(TAGS).collect(),
        }
    }
}

fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plain_is_kept() {
        let text = |text: &str| text.to_owned();
        let about = About {
            description: Some(format!("a\u{7}b\n{}", "\u{e9}".repeat(600))),
            mime_type: Some(text("text/html\r\nx: y")),
            service_name: Some("n".repeat(33)),
            tags: ["a", "A", "", "b\u{e9}", "c", "d", "e", "f", "g"].map(text).to_vec(),
        };
        let plain = about.plain();
        let description = plain.description.expect("it is kept");
        assert!(description.starts_with("ab\u{e9}") && description.chars().count() == 500);
        assert_eq!((plain.mime_type, plain.service_name), (None, None));
        assert_eq!(plain.tags, ["a", "c", "d", "e", "f"]);
        let kept = About { service_name: Some("n".repeat(32)), ..About::default() };
        assert_eq!(kept.clone().plain(), kept);
    }
}

//! `--facilitator base=https://...`, and the tokens by which facilitators know who asks.

use super::args::FacilitatorsArgs;
use crate::{
    faults::{Faults, words},
    secret_file,
};
use obol_core::{Chain, ChainId, Registry};
use obol_facilitator_client::{Client, Url};
use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};
use zeroize::Zeroizing;

const FACILITATOR: &str = "--facilitator";
const TOKENS_FILE: &str = "--facilitator-tokens-file";

const EXAMPLE: &str = "<chain>=<URL>, for example base=https://x402.example";

/// A chain, and who settles on it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) chain: Arc<Chain>,
    pub(crate) clients: Vec<Client>,
}

type Tokens = HashMap<String, Zeroizing<String>>;

/// In the order in which they are named; of a list with a fault, what is right.
pub(super) fn read(
    args: &FacilitatorsArgs,
    registry: &Arc<Registry>,
    answer_budget: Duration,
    faults: &mut Faults,
) -> Vec<Remote> {
    let mut tokens = match &args.facilitator_tokens_file {
        Some(path) => faults.sift(TOKENS_FILE, tokens(path)).unwrap_or_default(),
        None => Tokens::new(),
    };
    let mut used = Vec::new();
    let mut remotes: Vec<Remote> = Vec::new();
    for text in words(&args.facilitator) {
        let read = one(text, registry).and_then(|(chain, url)| {
            let token = tokens.get(url.as_str());
            used.extend(token.map(|_| url.to_string()));
            let known = remotes.iter_mut().find(|remote| remote.chain.id == chain.id);
            if let Some(known) = &known
                && known.clients.iter().any(|client| *client.url() == url)
            {
                return Err(format!("{}: {url} is named twice", chain.name));
            }
            let client = Client::new(url.clone(), token, Arc::clone(registry), answer_budget)
                .map_err(|error| format!("{url}: {error}"))?;
            match known {
                Some(known) => known.clients.push(client),
                None => remotes.push(Remote { chain, clients: vec![client] }),
            }
            Ok(())
        });
        faults.sift(FACILITATOR, read);
    }
    tokens.retain(|url, _| !used.contains(url));
    // A token for nobody is a URL that is mistyped in one of the two places.
    for url in tokens.keys() {
        faults.add(TOKENS_FILE, format!("{url} is named by no --facilitator; write it as it is there"));
    }
    remotes
}

fn one(text: &str, registry: &Registry) -> Result<(Arc<Chain>, Url), String> {
    let (name, url) = text
        .split_once('=')
        .filter(|(name, _)| !name.contains('/'))
        .ok_or_else(|| format!("a value does not begin with its chain; write {EXAMPLE}"))?;
    let name = name.trim();
    let chain = registry.chain(name).map_err(|error| error.to_string())?;
    let url = Url::parse(url.trim()).map_err(|error| format!("{name}: {error}; write {EXAMPLE}"))?;
    Ok((Arc::clone(chain), url))
}

fn tokens(path: &Path) -> Result<Tokens, String> {
    const FORM: &str = "it holds a line <URL> <token> for each facilitator";
    let shown = path.display();
    let text = secret_file::read("the facilitators' tokens", path)
        .map_err(|error| format!("{shown} cannot be read: {error}; {FORM}"))?;
    let mut tokens = Tokens::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(url), Some(token), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("{shown}:{number}: it is not a URL and a token with a space between them"));
        };
        let url = Url::parse(url).map_err(|error| format!("{shown}:{number}: {error}"))?;
        if tokens.insert(url.to_string(), Zeroizing::new(token.to_owned())).is_some() {
            return Err(format!("{shown}:{number}: {url} comes a second time"));
        }
    }
    Ok(tokens)
}

pub(super) fn shown(remotes: &[Remote]) -> Value {
    let urls =
        |remote: &Remote| remote.clients.iter().map(|client| client.url().to_string()).collect::<Vec<_>>();
    let by_chain = |remote: &Remote| -> (ChainId, Vec<String>) { (remote.chain.id, urls(remote)) };
    let entries = remotes.iter().map(by_chain).map(|(chain, urls)| (chain.to_string(), json!(urls)));
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;
    use std::{fs, path::PathBuf};

    fn args(facilitator: &[&str], file: Option<PathBuf>) -> FacilitatorsArgs {
        let facilitator = facilitator.iter().map(|text| (*text).to_owned()).collect();
        FacilitatorsArgs { facilitator, facilitator_tokens_file: file }
    }

    fn settled(args: &FacilitatorsArgs) -> Result<Vec<Remote>, Failure> {
        let mut faults = Faults::default();
        let registry = Arc::new(Registry::built_in());
        let remotes = read(args, &registry, Duration::from_secs(1), &mut faults);
        faults.none().map(|()| remotes)
    }

    fn refusal(args: &FacilitatorsArgs) -> String {
        format!("{:?}", settled(args).expect_err("refused"))
    }

    #[test]
    fn facilitators_are_asked_by_chain_in_the_order_in_which_they_are_named() {
        let given =
            ["base=https://b.example", "polygon=https://b.example", "eip155:8453=https://a.example/x/"];
        let remotes = settled(&args(&given, None)).expect("read");
        let told = shown(&remotes);
        let wanted = json!({
            "eip155:8453": ["https://b.example", "https://a.example/x"], "eip155:137": ["https://b.example"]
        });
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_facilitator_that_cannot_be_one_is_refused_by_name() {
        for (text, why) in [
            ("https://a.example", "does not begin with its chain"),
            ("nowhere=https://a.example", "unknown chain"),
            ("base=http://a.example", "this machine only"),
            ("base=https://a.example?key=sesame", "a query"),
        ] {
            let refused = refusal(&args(&[text], None));
            assert!(refused.contains("--facilitator: ") && refused.contains(why), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
        assert!(
            refusal(&args(&["base=https://a.example", "base=https://a.example/"], None)).contains("twice")
        );
    }

    #[test]
    fn a_token_is_for_a_facilitator_that_is_named_and_is_never_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens");
        for (text, why) in [
            ("https://a.example sesame open", ":1: it is not a URL and a token"),
            ("# mine\n\nhttp://a.example sesame", ":3: it begins with http://"),
            (
                "https://a.example sesame\nhttps://a.example/ sesame",
                ":2: https://a.example comes a second time",
            ),
            ("https://b.example sesame", "https://b.example is named by no --facilitator"),
        ] {
            fs::write(&file, text).expect("written");
            let refused = refusal(&args(&["base=https://a.example"], Some(file.clone())));
            assert!(refused.contains("--facilitator-tokens-file: ") && refused.contains(why), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
        fs::write(&file, "https://a.example/ sesame\n").expect("written");
        assert_eq!(settled(&args(&["base=https://a.example"], Some(file))).expect("read").len(), 1);
    }
}

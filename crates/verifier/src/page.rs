//! The 402 as a page, for people who open a paid address in a browser.

use http::{HeaderMap, HeaderValue, header};
use obol_core::{Chain, Offer, Reason, Registry, Requirement, WireVersion};
use serde_json::Value;
use std::sync::Arc;

pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The page runs nothing and loads nothing.
pub(crate) const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");

/// Whether a browser asks: it names `text/html` itself, which programs with `*/*` do not.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("text/html") || accept.contains("application/xhtml+xml"))
}

/// What the page says for people beside the challenge.
#[derive(Debug)]
pub(crate) struct Menu {
    offer: Arc<Offer>,
    /// Of each way to pay, in their order.
    chains: Vec<Option<Arc<Chain>>>,
}

impl Menu {
    pub(crate) fn new(offer: Arc<Offer>, registry: &Registry) -> Self {
        let chain = |required: &Requirement| registry.chain_by_id(required.asset.chain).ok().cloned();
        Self { chains: offer.accepts.iter().map(chain).collect(), offer }
    }

    fn ways(&self) -> impl Iterator<Item = (&Requirement, Option<&Chain>)> {
        self.offer.accepts.iter().zip(self.chains.iter().map(Option::as_deref))
    }
}

const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:8vh auto;padding:0 1rem;overflow-wrap:anywhere}\
    h1{margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
    table{border-collapse:collapse;width:100%;margin:1rem 0}\
    th,td{border-top:1px solid #8886;padding:.4rem .5rem .4rem 0;text-align:left;vertical-align:top}\
    tr:last-child>*{border-bottom:1px solid #8886}th{width:8rem;font-weight:normal;opacity:.75}\
    .price{font-size:1.4rem;font-weight:600}code{overflow-wrap:anywhere}\
    .refused{border-left:.3rem solid #c60;padding-left:.75rem}\
    pre{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:.5rem;font-size:.85rem}";

/// The challenge for people, and its JSON. Whatever comes from outside is text to the page.
pub(crate) fn render(challenge: &[u8], menu: &Menu) -> String {
    let json = serde_json::from_slice::<Value>(challenge).ok();
    let pretty = json
        .as_ref()
        .and_then(|json| serde_json::to_string_pretty(json).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(challenge).into_owned());
    let tables: Vec<_> = menu.ways().map(|(required, chain)| way(required, chain)).collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>Payment required</title>\
         <style>{STYLE}</style><h1>Payment required</h1>{description}{refused}\
         <p>This address answers each request for a payment in a stablecoin.</p>{tables}\
         <h2>What you can do</h2><p>A browser cannot pay by itself. Give this page's address to a program that \
         can: an agent with a wallet, or a client of the open protocol <a href=https://x402.org \
         rel=noreferrer>x402</a>. It needs a wallet and no account. A request that is not answered with success is not charged.</p>\
         <h2>The same for programs</h2><pre>{pretty}</pre></html>",
        description = match menu.offer.description.as_str() {
            "" => String::new(),
            some => format!("<p>{}</p>", escape(some)),
        },
        refused = json.as_ref().map(refused).unwrap_or_default(),
        tables = tables.join("<p>or</p>"),
        pretty = escape(&pretty),
    )
}

fn way(required: &Requirement, chain: Option<&Chain>) -> String {
    let asset = &required.asset;
    let chain = match chain {
        Some(chain) => format!("{} (<code>{}</code>)", escape(&chain.name), asset.chain),
        None => format!("<code>{}</code>", asset.chain),
    };
    format!(
        "<table><tr><th scope=row>Price<td><span class=price>{price} {symbol}</span> for each request\
         <tr><th scope=row>Chain<td>{chain}\
         <tr><th scope=row>Token<td>{symbol} <code>{token}</code>\
         <tr><th scope=row>Paid to<td><code>{payee}</code></table>",
        price = required.amount.to_decimal(asset.decimals),
        symbol = escape(&asset.symbol),
        token = asset.address.to_checksum(None),
        payee = required.pay_to.to_checksum(None),
    )
}

/// Why a payment that came was not taken.
fn refused(json: &Value) -> String {
    let said = |name| json.get(name).and_then(Value::as_str).unwrap_or_default();
    match said("reason") {
        "" => String::new(),
        reason if reason == Reason::PaymentRequired.code(WireVersion::V2) => String::new(),
        reason => format!(
            "<p class=refused>The payment that came was not taken (<code>{}</code>). {} {}</p>",
            escape(reason),
            escape(said("detail")),
            escape(said("hint"))
        ),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use obol_core::{ChainId, Charge, Disconnect, OfferId, Pattern, Upstream};
    use std::time::Duration;

    fn menu(description: &str, symbol: &str, prices: &[u64]) -> Menu {
        let registry = Registry::built_in();
        let mut asset = obol_core::Asset::clone(registry.default_asset(ChainId::new(84532)).unwrap());
        asset.symbol = symbol.to_owned();
        let asset = Arc::new(asset);
        let accepts = prices.iter().map(|&price| Requirement {
            asset: Arc::clone(&asset),
            pay_to: Address::repeat_byte(0x22),
            amount: price.into(),
            max_timeout_seconds: 300,
        });
        let offer = Offer {
            id: OfferId { namespace: "default".to_owned(), name: "hello".to_owned() },
            description: description.to_owned(),
            host: None,
            path: Pattern::Below("/services/hello".to_owned()),
            upstream: Upstream {
                base: None,
                strip: String::new(),
                authorization: None,
                header_timeout: Duration::from_secs(60),
            },
            accepts: accepts.collect(),
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
            sunset: None,
        };
        Menu::new(Arc::new(offer), &registry)
    }

    #[test]
    fn people_read_the_price_to_the_last_unit_the_chain_and_the_payee() {
        let page = render(br#"{"reason":"payment_required"}"#, &menu("hello", "USDC", &[10_000, 1]));
        for shown in [
            ">0.01 USDC<",
            ">0.000001 USDC<",
            "base-sepolia (<code>eip155:84532</code>)",
            "<code>0x036CbD53842c5426634e7929541eC2318f3dCF7e</code>",
            "<code>0x2222222222222222222222222222222222222222</code>",
        ] {
            assert!(page.contains(shown), "{shown}: {page}");
        }
        assert!(page.contains("<p>hello</p>"), "{page}");
        assert!(!page.contains("was not taken"), "{page}");
    }

    #[test]
    fn an_offer_without_a_description_has_no_empty_line() {
        let page = render(b"{}", &menu("", "USDC", &[1]));
        assert!(!page.contains("<p></p>"), "{page}");
    }

    #[test]
    fn people_read_why_their_payment_was_not_taken() {
        let json = br#"{"reason":"insufficient_funds","detail":"has <1>","hint":"Fund it."}"#;
        let page = render(json, &menu("", "USDC", &[1]));
        assert!(page.contains("(<code>insufficient_funds</code>). has &lt;1&gt; Fund it.<"), "{page}");
    }

    #[test]
    fn what_a_manifest_says_cannot_become_markup() {
        let script = "<script>alert('x')</script>";
        let json = serde_json::json!({"reason": script, "detail": script, "hint": script}).to_string();
        let page = render(json.as_bytes(), &menu(script, script, &[1]));
        assert!(!page.contains("<script>"), "{page}");
        let page = render(script.as_bytes(), &menu("", "", &[]));
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn programs_that_take_anything_get_json() {
        let mut headers = HeaderMap::new();
        assert!(!is_wanted(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert!(!is_wanted(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(is_wanted(&headers));
    }
}

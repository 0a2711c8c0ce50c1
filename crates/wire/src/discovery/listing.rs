//! What a payment says of the resource that was paid for.

use super::{About, ResourceError, ResourceUrl, RouteTemplate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// Bytes of a declaration: its example, and its schema.
pub const MAX_DECLARATION: usize = 16 * 1024;

/// How deep it may be: a schema goes two down for each field within a field.
const DEEPEST: usize = 32;

/// Characters of a tool's name.
const TOOL: usize = 128;

/// A resource that its seller wants to be found, as a payment's payload declares it. Whether `info`
/// is as `schema` has it, is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    pub resource: ResourceUrl,
    pub call: Call,
    pub about: About,
    pub info: Value,
    pub schema: Value,
    pub route_template: Option<RouteTemplate>,
}

/// How a resource is asked. With its address it is what a resource is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Call {
    Http {
        method: Method,
    },
    #[serde(rename_all = "camelCase")]
    Mcp {
        tool_name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Delete,
    Post,
    Put,
    Patch,
}

impl Call {
    /// As items and questions name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Mcp { .. } => "mcp",
        }
    }
}

/// Why a declaration lists nothing. It is told to the seller, who is to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    #[error("the payload has no resource with a url")]
    NoResource,
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error("the declaration is longer than {MAX_DECLARATION} bytes")]
    Long,
    #[error("the declaration is more than {DEEPEST} levels deep")]
    Deep,
    #[error("the declaration is not an object with info and schema")]
    Form,
    #[error("info.input is neither of type http with its method, nor of type mcp with its toolName")]
    Call,
}

/// As much of the body of `/settle` as says whether there is a declaration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    payment_payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    x402_version: u64,
    resource: Option<Box<RawValue>>,
    extensions: Extensions,
}

#[derive(Deserialize)]
struct Extensions {
    bazaar: Box<RawValue>,
}

#[derive(Deserialize)]
struct Resource {
    url: String,
    #[serde(flatten)]
    about: About,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declaration {
    info: Value,
    schema: Value,
    route_template: Option<String>,
}

impl Listing {
    /// Reads the body of `/settle`. `None` when its payment declares nothing.
    pub fn read(body: &[u8]) -> Option<Result<Self, Unlisted>> {
        let payload = serde_json::from_slice::<Body>(body).ok()?.payment_payload;
        (payload.x402_version == 2).then(|| declared(payload.resource.as_deref(), &payload.extensions.bazaar))
    }
}

fn declared(resource: Option<&RawValue>, declaration: &RawValue) -> Result<Listing, Unlisted> {
    if declaration.get().len() > MAX_DECLARATION {
        return Err(Unlisted::Long);
    }
    let Declaration { info, schema, route_template } =
        serde_json::from_str(declaration.get()).map_err(|_| Unlisted::Form)?;
    if !info.is_object() || !schema.is_object() {
        return Err(Unlisted::Form);
    }
    if is_deeper(&info, DEEPEST) || is_deeper(&schema, DEEPEST) {
        return Err(Unlisted::Deep);
    }
    let resource: Resource = resource
        .and_then(|resource| serde_json::from_str(resource.get()).ok())
        .ok_or(Unlisted::NoResource)?;
    let route_template = route_template.as_deref().map(RouteTemplate::parse).transpose()?;
    Ok(Listing {
        resource: ResourceUrl::parse(&resource.url, route_template.as_ref())?,
        call: call(&info)?,
        about: resource.about.plain(),
        info,
        schema,
        route_template,
    })
}

fn call(info: &Value) -> Result<Call, Unlisted> {
    let call = Call::deserialize(&info["input"]).map_err(|_| Unlisted::Call)?;
    match &call {
        Call::Mcp { tool_name } if tool_name.is_empty() || tool_name.chars().count() > TOOL => {
            Err(Unlisted::Call)
        }
        _ => Ok(call),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, below)),
        Value::Object(entries) => entries.values().any(|entry| is_deeper(entry, below)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"x402Version": 2, "paymentPayload": {
            "x402Version": 2,
            "resource": {"url": "https://shop.example/users/7", "description": "who", "tags": ["a"], "more": 1},
            "extensions": {"bazaar": {
                "info": {"input": {"type": "http", "method": "GET"}}, "schema": {"type": "object"},
                "routeTemplate": "/users/:id",
            }},
        }})
    }

    fn read(body: &Value) -> Option<Result<Listing, Unlisted>> {
        Listing::read(body.to_string().as_bytes())
    }

    #[test]
    fn a_declaration_is_read_with_the_resource_that_it_is_about() {
        let listing = read(&body()).expect("a declaration").expect("a good one");
        assert_eq!(listing.resource.to_string(), "https://shop.example/users/:id");
        assert_eq!(listing.call, Call::Http { method: Method::Get });
        assert_eq!(
            serde_json::to_value(&listing.about).expect("JSON"),
            json!({"description": "who", "tags": ["a"]})
        );
    }

    #[test]
    fn a_payment_that_declares_nothing_is_no_fault() {
        let mut bare = body();
        bare["paymentPayload"]["extensions"] = json!({});
        let mut old = body();
        old["paymentPayload"]["x402Version"] = 1.into();
        let mut strange = body();
        strange["paymentPayload"]["extensions"] = json!("x");
        let mut null = body();
        null["paymentPayload"]["extensions"] = Value::Null;
        for body in [bare, old, strange, null, json!(7)] {
            assert_eq!(read(&body), None, "{body}");
        }
        assert_eq!(Listing::read(b"not json"), None);
    }

    #[test]
    fn what_cannot_be_listed_says_why() {
        let deep = (0..DEEPEST).fold(json!(1), |inner, _| json!([inner]));
        for (place, value, expected) in [
            ("/resource", Value::Null, Unlisted::NoResource),
            ("/resource", json!({"url": 7}), Unlisted::NoResource),
            ("/resource/url", json!("ftp://x/y"), ResourceError::Scheme.into()),
            ("/extensions/bazaar", json!("x"), Unlisted::Form),
            ("/extensions/bazaar/info", json!([]), Unlisted::Form),
            ("/extensions/bazaar/schema", json!(true), Unlisted::Form),
            ("/extensions/bazaar/routeTemplate", json!("/../x"), ResourceError::Template.into()),
            ("/extensions/bazaar/info/input/type", json!("ftp"), Unlisted::Call),
            ("/extensions/bazaar/info/input/method", json!("BREW"), Unlisted::Call),
            ("/extensions/bazaar/info/input", json!({"type": "mcp"}), Unlisted::Call),
            ("/extensions/bazaar/info/input", json!({"type": "mcp", "toolName": ""}), Unlisted::Call),
            ("/extensions/bazaar/schema/type", deep, Unlisted::Deep),
            ("/extensions/bazaar/schema/type", json!("x".repeat(MAX_DECLARATION)), Unlisted::Long),
        ] {
            let mut body = body();
            *body.pointer_mut(&format!("/paymentPayload{place}")).expect("it is there") = value;
            assert_eq!(read(&body), Some(Err(expected)), "{place}");
        }
    }
}

//! The files that people copy, with the addresses of a test in place of the example's.

use super::ProxyKind;
use anyhow::{Result, ensure};
use std::{fs, net::SocketAddr, path::Path};

/// What stands in `deploy/proxies/` for an address.
const LISTEN: &str = "127.0.0.1:8000";
const LISTEN_OF_CADDY: &str = "http://:8000";
const VERIFIER: &str = "127.0.0.1:8080";
const SERVICE: &str = "127.0.0.1:9000";

/// What nginx has of its own elsewhere: one process, which ends when it is killed, and a folder
/// for what it writes.
pub(super) const NGINX: &str = "nginx.conf";
const AROUND_NGINX: &str = "\
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include obol.conf;
}
";

pub(super) struct Addresses<'a> {
    pub(super) listen: SocketAddr,
    pub(super) verifier: SocketAddr,
    pub(super) service: &'a str,
}

pub(super) fn write(kind: ProxyKind, folder: &Path, at: &Addresses<'_>) -> Result<()> {
    let listen = (LISTEN, at.listen.to_string());
    let verifier = (VERIFIER, at.verifier.to_string());
    let service = (SERVICE, at.service.to_owned());
    let put = |file: &str, text: &str, places: &[(&str, String)]| {
        let text = placed(text, places)?;
        Ok::<_, anyhow::Error>(fs::write(folder.join(file), text)?)
    };
    match kind {
        ProxyKind::Nginx => {
            put(NGINX, AROUND_NGINX, &[])?;
            let text = include_str!("../../../deploy/proxies/nginx/obol.conf");
            put("obol.conf", text, &[listen, verifier, service])
        }
        ProxyKind::Caddy => {
            let text = include_str!("../../../deploy/proxies/caddy/Caddyfile");
            let listen = (LISTEN_OF_CADDY, format!("http://:{}", at.listen.port()));
            put("Caddyfile", text, &[listen, verifier, service])
        }
        ProxyKind::Traefik => {
            put("traefik.yaml", include_str!("../../../deploy/proxies/traefik/traefik.yaml"), &[listen])?;
            let text = include_str!("../../../deploy/proxies/traefik/dynamic.yaml");
            put("dynamic.yaml", text, &[verifier, service])
        }
    }
}

fn placed(text: &str, places: &[(&str, String)]) -> Result<String> {
    let mut text = text.to_owned();
    for (example, real) in places {
        ensure!(text.contains(example), "{example} is not in the configuration");
        text = text.replace(example, real);
    }
    Ok(text)
}

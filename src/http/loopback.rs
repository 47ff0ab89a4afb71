//! With no credential configured the daemon serves loopback alone, and no web page may reach it through a browser: the
//! Host must be a loopback name (so that no DNS name can be rebound to here) and the Origin must be the daemon's own.

use std::net::IpAddr;

use hyper::header::{HOST, ORIGIN};
use hyper::http::request::Parts;

use crate::problem::{Problem, Slug};

/// # Errors
/// `forbidden` 403.
pub fn check(head: &Parts) -> Result<(), Problem> {
    let host = head.headers.get(HOST).map(|value| value.to_str().unwrap_or_default());
    // An address in the request line stands above the header (RFC 9112, 3.2.2), so both must be good.
    let in_target = head.uri.authority().map(|authority| authority.as_str());
    for name in host.into_iter().chain(in_target) {
        if !is_loopback(name) {
            return Err(forbidden("The Host is no loopback name; without credentials only loopback is served."));
        }
    }
    let mut origins = head.headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let own = origin.to_str().ok().and_then(|origin| {
        let (scheme, authority) = origin.split_once("://")?;
        let port = [("http", "80"), ("https", "443")].iter().find(|(known, _)| *known == scheme)?.1;
        Some(same_host(authority, host?, port))
    });
    if own == Some(true) && origins.next().is_none() {
        return Ok(());
    }
    Err(forbidden("The Origin is not this daemon's own; without credentials no web page may use it."))
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(Slug::Forbidden, detail)
}

fn split(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => (&authority[..colon], &authority[colon + 1..]),
        _ => (authority, ""),
    }
}

fn same_host(left: &str, right: &str, default_port: &str) -> bool {
    let ((left_name, left_port), (right_name, right_port)) = (split(left), split(right));
    let left_port = if left_port.is_empty() { default_port } else { left_port };
    let right_port = if right_port.is_empty() { default_port } else { right_port };
    left_name.eq_ignore_ascii_case(right_name) && left_port == right_port
}

fn is_loopback(authority: &str) -> bool {
    let (name, _) = split(authority);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(target: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = hyper::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        check(&head).is_ok()
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        for good in ["localhost", "LOCALHOST:7878", "127.0.0.1:7878", "127.9.9.9", "[::1]:7878", "[::1]", "localhost:"]
        {
            assert!(allowed("/", &[("host", good)]), "{good}");
        }
        for bad in
            ["example.com", "localhost.example.com", "10.0.0.1:7878", "0.0.0.0", "[::2]", "127.0.0.1.example.com"]
        {
            assert!(!allowed("/", &[("host", bad)]), "{bad}");
        }
        assert!(allowed("/", &[]), "HTTP/1.0 without a Host comes from no browser");
        assert!(!allowed("http://example.com/", &[("host", "localhost")]));
        assert!(allowed("http://127.0.0.1:80/", &[("host", "localhost")]));
    }

    #[test]
    fn only_the_daemons_own_pages_may_use_it() {
        let own = ("host", "localhost:7878");
        assert!(allowed("/", &[own, ("origin", "http://localhost:7878")]));
        assert!(allowed("/", &[("host", "localhost"), ("origin", "http://localhost:80")]));
        for bad in [
            "null",
            "http://localhost:7879",
            "http://127.0.0.1:7878",
            "https://evil.example",
            "http://localhost",
            "",
            "file://localhost:7878",
        ] {
            assert!(!allowed("/", &[own, ("origin", bad)]), "{bad}");
        }
        assert!(!allowed("/", &[own, ("origin", "http://localhost:7878"), ("origin", "http://localhost:7878")]));
    }
}

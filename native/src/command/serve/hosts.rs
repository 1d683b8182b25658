//! The names under which the page may be asked for.

use std::net::IpAddr;

use axum::http::{Request, header::HOST, uri::Authority};

/// Who is meant when a request is answered.
///
/// A page from elsewhere may let its own name stand for this machine (DNS rebinding), and would then be allowed to read
/// what is served here; but its requests carry that name.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The name or number that the user asked for.
    asked: String,
    /// Whether all of the machine's addresses are listened on. A number is no name, so any is this machine's.
    all: bool,
}

impl Hosts {
    /// Those of a server that was to listen on `address`, as HOST:PORT, and does so at `bound`.
    pub fn new(address: &str, bound: IpAddr) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self { asked: bare(host).to_ascii_lowercase(), all: bound.is_unspecified() }
    }

    /// Whether a request asks for this server.
    pub fn admit<B>(&self, request: &Request<B>) -> bool {
        let header = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
        let authority: Option<Authority> = request.uri().authority().cloned().or_else(header);
        authority.is_some_and(|authority| self.knows(bare(authority.host())))
    }

    fn knows(&self, host: &str) -> bool {
        let is_own_number = |number: IpAddr| number.is_loopback() || self.all;
        host.eq_ignore_ascii_case("localhost")
            || host.eq_ignore_ascii_case(&self.asked)
            || host.parse().is_ok_and(is_own_number)
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(address: &str, bound: &str, host: &str) -> bool {
        let request = Request::get("/").header(HOST, host).body(()).unwrap();
        Hosts::new(address, bound.parse().unwrap()).admit(&request)
    }

    #[test]
    fn loopback_and_what_was_asked_for_are_known() {
        let local = |host| admitted("127.0.0.1:8787", "127.0.0.1", host);
        for host in ["127.0.0.1:8787", "localhost", "LocalHost:1", "[::1]:8787", "127.1.2.3"] {
            assert!(local(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8787", "192.168.1.5", "[::2]", ""]
        {
            assert!(!local(host), "{host}");
        }
        assert!(admitted("Lab.local:80", "192.168.1.5", "lab.local"));
        assert!(!admitted("lab.local:80", "192.168.1.5", "other.local"));
        assert!(admitted("[fe80::1]:80", "fe80::1", "[fe80::1]:80"));
        // Listening everywhere: every number, but no name.
        assert!(admitted("0.0.0.0:80", "0.0.0.0", "192.168.1.5:80"));
        assert!(!admitted("0.0.0.0:80", "0.0.0.0", "evil.example"));
    }

    #[test]
    fn a_whole_address_in_the_request_counts_for_more_than_its_header() {
        let request = Request::get("http://evil.example/").header(HOST, "localhost").body(()).unwrap();
        assert!(!Hosts::new("127.0.0.1:0", "127.0.0.1".parse().unwrap()).admit(&request));
        assert!(!Hosts::new("127.0.0.1:0", "127.0.0.1".parse().unwrap()).admit(&Request::get("/").body(()).unwrap()));
    }
}

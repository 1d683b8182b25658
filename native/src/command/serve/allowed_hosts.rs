//! The host names that requests may be addressed to.

use std::net::IpAddr;

use axum::http::{Request, header::HOST, uri::Authority};

/// Hosts whose requests are answered.
///
/// A website can resolve its own name to this machine (DNS rebinding) and so pass the browser's same-origin check; but
/// its requests carry that name in their `Host` header.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    /// The host of --address.
    host: String,
    /// Whether the server listens on all addresses. Then any IP address is allowed, as rebinding needs a name.
    any_ip: bool,
}

impl AllowedHosts {
    /// Returns the allowed hosts of a server that listens on `address` (HOST:PORT), which is bound to `bound`.
    pub fn new(address: &str, bound: IpAddr) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self { host: without_brackets(host).to_ascii_lowercase(), any_ip: bound.is_unspecified() }
    }

    /// Returns whether a request is addressed to an allowed host.
    pub fn allow<B>(&self, request: &Request<B>) -> bool {
        let header = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
        let authority: Option<Authority> = request.uri().authority().cloned().or_else(header);
        authority.is_some_and(|authority| self.allow_host(without_brackets(authority.host())))
    }

    fn allow_host(&self, host: &str) -> bool {
        let is_allowed_ip = |ip: IpAddr| ip.is_loopback() || self.any_ip;
        host.eq_ignore_ascii_case("localhost")
            || host.eq_ignore_ascii_case(&self.host)
            || host.parse().is_ok_and(is_allowed_ip)
    }
}

/// Removes the brackets of an IPv6 address.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(address: &str, bound: &str, host: &str) -> bool {
        let request = Request::get("/").header(HOST, host).body(()).unwrap();
        AllowedHosts::new(address, bound.parse().unwrap()).allow(&request)
    }

    #[test]
    fn loopback_and_the_given_host_are_allowed() {
        let local = |host| is_allowed("127.0.0.1:8787", "127.0.0.1", host);
        for host in ["127.0.0.1:8787", "localhost", "LocalHost:1", "[::1]:8787", "127.1.2.3"] {
            assert!(local(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8787", "192.168.1.5", "[::2]", ""]
        {
            assert!(!local(host), "{host}");
        }
        assert!(is_allowed("Lab.local:80", "192.168.1.5", "lab.local"));
        assert!(!is_allowed("lab.local:80", "192.168.1.5", "other.local"));
        assert!(is_allowed("[fe80::1]:80", "fe80::1", "[fe80::1]:80"));
        // On all addresses: every IP address, but no name.
        assert!(is_allowed("0.0.0.0:80", "0.0.0.0", "192.168.1.5:80"));
        assert!(!is_allowed("0.0.0.0:80", "0.0.0.0", "evil.example"));
    }

    #[test]
    fn an_absolute_request_target_takes_precedence_over_the_host_header() {
        let request = Request::get("http://evil.example/").header(HOST, "localhost").body(()).unwrap();
        let hosts = AllowedHosts::new("127.0.0.1:0", "127.0.0.1".parse().unwrap());
        assert!(!hosts.allow(&request));
        assert!(!hosts.allow(&Request::get("/").body(()).unwrap()));
    }
}

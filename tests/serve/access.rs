use crate::server::{Folders, Server};

#[test]
fn only_read_methods_are_allowed() {
    let folders = Folders::new();
    let server = folders.serve_run();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        for path in ["/", "/page.js", "/run/run.json", "/run/events", "/run/checkpoint.safetensors"] {
            let response = server.request(method, path, "\r\nContent-Length: 0");
            assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(server.request("HEAD", "/run/events", "").status, 200);
}

#[test]
fn no_path_leads_out_of_the_folders() {
    let folders = Folders::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(folders.path("secret.txt"), folders.path("web/link.txt")).unwrap();
        symlink(folders.path(""), folders.path("web/out")).unwrap();
        symlink("page.js", folders.path("web/inside.js")).unwrap();
        symlink(folders.path("secret.txt"), folders.path("run/landscape.json")).unwrap();
        symlink(folders.path("secret.txt"), folders.path("web/worker.wasm.br")).unwrap();
    }
    let server = folders.serve_run();
    let absolute = folders.path("secret.txt");
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "/page.js/../../secret.txt",
        "/link.txt",
        "/out/secret.txt",
        "/out/run/config.toml",
        "/run/../secret.txt",
        "/run/..%2fsecret.txt",
        "/run/%2e%2e/secret.txt",
        "/run/landscape.json",
        "/run/config.toml",
        "/run/snapshots/",
        "/page.js%00",
        absolute.to_str().unwrap(),
        &format!("/{}", absolute.display()),
        &format!("/run/{}", absolute.display()),
        &absolute.to_str().unwrap().replace('/', "%2f"),
    ] {
        let response = server.get(path);
        assert!([400, 404].contains(&response.status), "{path}: {}", response.status);
        assert!(!response.text().contains("secret"), "{path}");
    }
    // Neither does a compressed file; a link within the folder works.
    assert_eq!(server.request("GET", "/worker.wasm", "\r\nAccept-Encoding: br").body(), b"\0asm");
    #[cfg(unix)]
    assert_eq!(server.get("/inside.js").status, 200);
}

#[test]
fn requests_to_other_hosts_are_refused() {
    let folders = Folders::new();
    let server = folders.serve_run();
    let port = server.address.port();
    for path in ["/", "/run/run.json", "/run/events"] {
        for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example", "192.168.1.5", ""] {
            let response = server.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}"));
            assert_eq!(response.status, 403, "{path} '{host}'");
            assert!(response.text().contains("answers only at the address"), "{path} '{host}'");
        }
        assert_eq!(server.send(&format!("GET {path} HTTP/1.0\r\nAccept: */*")).status, 403, "{path}");
        assert_eq!(server.send(&format!("GET http://evil.example{path} HTTP/1.1\r\nHost: localhost")).status, 403);
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "LOCALHOST".into()]
    {
        assert_eq!(server.send(&format!("GET / HTTP/1.1\r\nHost: {host}")).status, 200, "{host}");
    }
}

#[test]
fn other_machines_are_admitted_with_an_unspecified_address() {
    let folders = Folders::new();
    let bundle = folders.path("web");
    let mut server = Server::start(&["--address", "0.0.0.0:0", "--bundle", bundle.to_str().unwrap()]);
    assert!(server.address.ip().is_loopback(), "{}", server.url);
    let status = |host| server.send(&format!("GET / HTTP/1.1\r\nHost: {host}")).status;
    assert_eq!((status("192.168.1.5:80"), status("localhost"), status("evil.example")), (200, 200, 403));
    let stderr = server.process.stderr();
    assert_eq!(stderr.matches("every machine that can reach").count(), 1, "{stderr}");
}

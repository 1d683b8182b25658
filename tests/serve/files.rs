use std::fs;

use crate::server::Folders;

#[test]
fn the_page_is_served_byte_for_byte() {
    let folders = Folders::new();
    let server = folders.serve(&[]);
    assert_eq!(server.url, format!("http://{}/", server.address));
    assert!(server.address.ip().is_loopback());
    for (path, file, kind) in [
        ("/", "web/index.html", "text/html"),
        ("/?live#lab", "web/index.html", "text/html"),
        ("/page.js", "web/page.js", "text/javascript"),
        ("/worker.wasm", "web/worker.wasm", "application/wasm"),
        ("/assets/images.webp", "web/assets/images.webp", "image/webp"),
    ] {
        let response = server.get(path);
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{path}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(response.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert_eq!(response.body(), fs::read(folders.path(file)).unwrap(), "{path}");
    }
    let head = server.request("HEAD", "/page.js", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("15")));
    assert!(head.body().is_empty());
    // Without a run there is nothing below /run, even if the bundle has files there.
    fs::create_dir(folders.path("web/run")).unwrap();
    fs::write(folders.path("web/run/run.json"), "{}").unwrap();
    for path in ["/nothing", "/run/run.json", "/run/events", "/run/page.js"] {
        let response = server.get(path);
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn brotli_is_served_to_browsers_that_accept_it() {
    let folders = Folders::new();
    let server = folders.serve(&[]);
    let response = server.request("GET", "/page.js", "\r\nAccept-Encoding: gzip, deflate, br, zstd");
    assert_eq!(response.header("content-encoding"), Some("br"));
    assert_eq!(response.header("content-type"), Some("text/javascript"));
    assert_eq!(response.header("vary").map(str::to_ascii_lowercase).as_deref(), Some("accept-encoding"));
    assert_eq!(response.text(), "compressed");
    for (path, accepted) in [("/page.js", "gzip"), ("/page.js", "br;q=0"), ("/worker.wasm", "br")] {
        let response = server.request("GET", path, &format!("\r\nAccept-Encoding: {accepted}"));
        assert_eq!((response.status, response.header("content-encoding")), (200, None), "{path} {accepted}");
        assert_eq!(response.body(), fs::read(folders.path("web").join(&path[1..])).unwrap());
    }
}

#[test]
fn a_rebuilt_page_is_served_at_once() {
    let folders = Folders::new();
    let server = folders.serve(&[]);
    let response = server.get("/page.js");
    let tag = response.header("etag").unwrap().to_owned();
    assert!(response.header("last-modified").is_some());
    let revalidate = || server.request("GET", "/page.js", &format!("\r\nIf-None-Match: {tag}"));
    assert_eq!(revalidate().status, 304);
    fs::write(folders.path("web/page.js"), "import './b.js'").unwrap();
    let response = revalidate();
    assert_eq!((response.status, response.text().as_str()), (200, "import './b.js'"));
}

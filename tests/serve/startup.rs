use std::{fs, net::TcpListener, path::Path, process::Command};

use crate::server::{Folders, Server, refused, serve};

#[test]
fn a_missing_page_or_run_and_a_taken_address_are_named() {
    let folders = Folders::new();
    let text = |name: &str| folders.path(name).to_str().unwrap().to_owned();
    let message = refused(&mut serve(&["--bundle", &text("run")]));
    assert!(message.contains("there is no page in ") && message.contains("cargo xtask web"), "{message}");
    let message = refused(&mut serve(&["--bundle", &text("web"), &text("nothing")]));
    assert!(message.contains("there is no folder "), "{message}");
    let message = refused(&mut serve(&["--bundle", &text("web"), &text("web")]));
    assert!(message.contains("is not a run's folder"), "{message}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for address in [address.as_str(), "8787", "127.0.0.1", "256.0.0.1:80"] {
        let message = refused(&mut serve(&["--bundle", &text("web"), "--address", address]));
        assert!(message.contains(&format!("cannot listen on {address}: name a free address")), "{message}");
    }
}

#[test]
fn without_an_address_a_free_port_is_found() {
    let folders = Folders::new();
    // Held by this test or by another program.
    let _taken = TcpListener::bind("127.0.0.1:8787");
    let server = Server::start(&["--bundle", folders.path("web").to_str().unwrap()]);
    assert_ne!(server.address.port(), 8787);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn the_default_bundle_is_beside_the_programs_folder() {
    let folders = Folders::new();
    let program = folders.path("release/slimclr");
    fs::create_dir(folders.path("release")).unwrap();
    copy(Path::new(env!("CARGO_BIN_EXE_slimclr")), &program);
    fs::remove_file(folders.path("web/index.html")).unwrap();
    let message = refused(Command::new(program).arg("serve"));
    assert!(
        message.contains(&format!("no page in {}", folders.path("web").canonicalize().unwrap().display())),
        "{message}"
    );
}

/// Hard-links a file, or copies it if the file system has no hard links.
fn copy(from: &Path, to: &Path) {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).unwrap();
}

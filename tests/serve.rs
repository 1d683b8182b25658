//! `slimclr serve` as a browser meets it: the page's files, a run's events as they are written, and who is kept out.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longest that an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A bundle and a run's folder that has no events yet, beside a file that is in neither.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        let write = |name: &str, text: &[u8]| {
            let path = scene.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("secret.txt", b"secret");
        write("web/index.html", b"<!doctype html><title>page</title>");
        write("web/page.js", b"import './a.js'");
        write("web/page.js.br", b"brotli, for all anyone knows");
        write("web/worker.wasm", b"\0asm");
        write("web/assets/images.webp", b"RIFF");
        write("run/config.toml", b"");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, arguments: &[&str]) -> Server {
        let bundle = self.path("web");
        Server::start(&[&["--address", "127.0.0.1:0", "--bundle", bundle.to_str().unwrap()], arguments].concat())
    }

    fn serve_run(&self) -> Server {
        self.serve(&[self.path("run").to_str().unwrap()])
    }

    fn append(&self, lines: &str) {
        let mut log = OpenOptions::new().append(true).create(true).open(self.path("run/events.jsonl")).unwrap();
        log.write_all(lines.as_bytes()).unwrap();
    }
}

fn serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    command.arg("serve").args(arguments);
    command
}

/// The program; ends with the test.
struct Running(Child);

impl Running {
    #[track_caller]
    fn ends(&mut self) -> ExitStatus {
        let asked = Instant::now();
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(asked.elapsed() < LIMIT, "it goes on"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that it has said to the user, once it has ended.
    fn said(&mut self) -> String {
        self.0.kill().unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program at work.
struct Server {
    program: Running,
    url: String,
    address: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let child = serve(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut program = Running(child);
        let mut url = String::new();
        BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some(address) = address else {
            panic!("no address in '{url}': {}", program.said());
        };
        Self { program, url, address }
    }

    /// Sends a request as it stands, but for the empty line at its end.
    fn send(&self, head: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP answer");
        let headers = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        Answer { status, headers, reader }
    }

    /// Asks as a browser does that was sent to the printed address.
    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {}{headers}", self.address))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// The run's events from the one after `seen`.
    fn events(&self, seen: Option<&str>) -> Feed {
        let header = seen.map(|id| format!("\r\nLast-Event-ID: {id}")).unwrap_or_default();
        let answer = self.ask("GET", "/run/events", &header);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        Feed { reader: answer.reader }
    }

    fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.program.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

struct Answer {
    status: u16,
    headers: Vec<String>,
    reader: BufReader<TcpStream>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter_map(|header| header.split_once(": "));
        named.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    fn body(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.reader.read_to_end(&mut body).unwrap();
        body
    }

    fn text(self) -> String {
        String::from_utf8(self.body()).unwrap()
    }
}

/// A stream of events that is being read.
struct Feed {
    reader: BufReader<TcpStream>,
}

/// What a browser makes of an event's lines.
#[derive(Debug, Default, PartialEq)]
struct Told {
    kind: String,
    id: String,
    data: String,
}

impl Feed {
    /// The next event; sizes of chunks and comments between the fields are none of it.
    fn next(&mut self) -> Told {
        let mut told = Told::default();
        let asked = Instant::now();
        loop {
            assert!(asked.elapsed() < LIMIT, "nothing but comments");
            let mut line = String::new();
            assert_ne!(self.reader.read_line(&mut line).expect("an event in time"), 0, "the stream has ended");
            let line = line.trim_end();
            match line.split_once(": ") {
                Some(("event", kind)) => told.kind = kind.into(),
                Some(("id", id)) => told.id = id.into(),
                Some(("data", data)) => told.data = data.into(),
                _ if line.is_empty() && !told.data.is_empty() => return told,
                _ => {}
            }
        }
    }

    #[track_caller]
    fn tells(&mut self, lines: &[&str]) -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                let told = self.next();
                assert_eq!((told.kind.as_str(), told.data.as_str()), ("", *line));
                told.id
            })
            .collect()
    }

    #[track_caller]
    fn restarts(&mut self) {
        assert_eq!(self.next().kind, "restart");
    }
}

/// An event as it stands in the file.
fn checkpoint(step: u64) -> String {
    format!(r#"{{"event":"checkpoint","step":{step}}}"#)
}

/// What the program says that ends at once because it cannot do what it should.
fn refused(command: &mut Command) -> String {
    let mut refusing = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let status = refusing.ends();
    let message = refusing.said();
    assert_eq!(status.code(), Some(2), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[test]
fn the_page_is_served_byte_for_byte() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    assert_eq!(server.url, format!("http://{}/", server.address));
    assert!(server.address.ip().is_loopback());
    for (path, file, kind) in [
        ("/", "web/index.html", "text/html"),
        ("/?live#lab", "web/index.html", "text/html"),
        ("/page.js", "web/page.js", "text/javascript"),
        ("/worker.wasm", "web/worker.wasm", "application/wasm"),
        ("/assets/images.webp", "web/assets/images.webp", "image/webp"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.body(), fs::read(scene.path(file)).unwrap(), "{path}");
    }
    let head = server.ask("HEAD", "/page.js", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("15")));
    assert!(head.body().is_empty());
    // Below /run there is a run or nothing, whatever the bundle has there.
    fs::create_dir(scene.path("web/run")).unwrap();
    fs::write(scene.path("web/run/run.json"), "{}").unwrap();
    for path in ["/nothing", "/run/run.json", "/run/events", "/run/page.js"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn browsers_that_take_brotli_get_it() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let answer = server.ask("GET", "/page.js", "\r\nAccept-Encoding: gzip, deflate, br, zstd");
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(answer.header("content-type"), Some("text/javascript"));
    assert_eq!(answer.header("vary").map(str::to_ascii_lowercase).as_deref(), Some("accept-encoding"));
    assert_eq!(answer.text(), "brotli, for all anyone knows");
    for (path, accepted) in [("/page.js", "gzip"), ("/page.js", "br;q=0"), ("/worker.wasm", "br")] {
        let answer = server.ask("GET", path, &format!("\r\nAccept-Encoding: {accepted}"));
        assert_eq!((answer.status, answer.header("content-encoding")), (200, None), "{path} {accepted}");
        assert_eq!(answer.body(), fs::read(scene.path("web").join(&path[1..])).unwrap());
    }
}

#[test]
fn a_page_built_anew_is_seen_at_once() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let answer = server.get("/page.js");
    let tag = answer.header("etag").unwrap().to_owned();
    assert!(answer.header("last-modified").is_some());
    let ask_again = || server.ask("GET", "/page.js", &format!("\r\nIf-None-Match: {tag}"));
    assert_eq!(ask_again().status, 304);
    fs::write(scene.path("web/page.js"), "import './b.js'").unwrap();
    let answer = ask_again();
    assert_eq!((answer.status, answer.text().as_str()), (200, "import './b.js'"));
}

#[test]
fn nothing_can_be_written() {
    let scene = Scene::new();
    let server = scene.serve_run();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        for path in ["/", "/page.js", "/run/run.json", "/run/events", "/run/checkpoint.safetensors"] {
            let answer = server.ask(method, path, "\r\nContent-Length: 0");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(server.ask("HEAD", "/run/events", "").status, 200);
}

#[test]
fn no_path_leads_out() {
    let scene = Scene::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(scene.path("secret.txt"), scene.path("web/link.txt")).unwrap();
        symlink(scene.path(""), scene.path("web/out")).unwrap();
        symlink("page.js", scene.path("web/inside.js")).unwrap();
        symlink(scene.path("secret.txt"), scene.path("run/landscape.json")).unwrap();
        symlink(scene.path("secret.txt"), scene.path("web/worker.wasm.br")).unwrap();
    }
    let server = scene.serve_run();
    let absolute = scene.path("secret.txt");
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
        let answer = server.get(path);
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret"), "{path}");
    }
    // Nor does a compressed form; a link that stays inside is a file like any other.
    assert_eq!(server.ask("GET", "/worker.wasm", "\r\nAccept-Encoding: br").body(), b"\0asm");
    #[cfg(unix)]
    assert_eq!(server.get("/inside.js").status, 200);
}

#[test]
fn requests_under_another_name_are_refused() {
    let scene = Scene::new();
    let server = scene.serve_run();
    let port = server.address.port();
    for path in ["/", "/run/run.json", "/run/events"] {
        for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example", "192.168.1.5", ""] {
            let answer = server.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}"));
            assert_eq!(answer.status, 403, "{path} '{host}'");
            assert!(answer.text().contains("answers only under the address"), "{path} '{host}'");
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
fn a_run_is_told_from_its_beginning_and_on() {
    let scene = Scene::new();
    let server = scene.serve_run();
    assert_eq!(server.url, format!("http://{}/?live", server.address));
    let contents = || server.get("/run/run.json").text();
    assert_eq!(contents(), r#"{"files":[],"name":"run"}"#);
    assert_eq!(server.get("/run/checkpoint.safetensors").status, 404);

    // Nothing yet; then lines, whole, torn and damaged.
    let mut early = server.events(None);
    let [one, two, three, four] = [1, 2, 3, 4].map(checkpoint);
    scene.append(&format!("{one}\n"));
    early.tells(&[&one]);
    let (begun, rest) = two.split_at(12);
    scene.append(begun);
    std::thread::sleep(Duration::from_millis(600));
    scene.append(&format!("{rest}\nno event\n{{\"event\":\"unheard of\"}}\n\n{three}\n"));
    early.tells(&[&two, &three]);
    let ids = server.events(None).tells(&[&one, &two, &three]);
    assert_eq!(ids.iter().map(|id| id.split('-').next().unwrap()).collect::<Vec<_>>(), ["1", "2", "6"]);

    // A browser that comes back goes on where it was.
    let mut back = server.events(Some(&ids[1]));
    back.tells(&[&three]);
    scene.append(&format!("{four}\n"));
    back.tells(&[&four]);
    early.tells(&[&four]);

    fs::write(scene.path("run/checkpoint.safetensors"), "weights").unwrap();
    fs::write(scene.path("run/landscape.json"), "{}").unwrap();
    assert_eq!(contents(), r#"{"files":["events","landscape.json","checkpoint.safetensors"],"name":"run"}"#);
    assert_eq!(server.get("/run/checkpoint.safetensors").text(), "weights");
    let landscape = server.get("/run/landscape.json");
    assert_eq!(
        (landscape.header("content-type"), landscape.header("cache-control")),
        (Some("application/json"), Some("no-cache"))
    );
}

#[test]
fn a_run_that_went_back_to_its_checkpoint_is_told_anew() {
    let scene = Scene::new();
    let [one, two, three, four] = [1, 2, 3, 4].map(checkpoint);
    let log = scene.path("run/events.jsonl");
    let replace = |lines: &[&String]| {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let new = scene.path("run/new");
        fs::write(&new, lines).unwrap();
        fs::rename(new, &log).unwrap();
    };
    replace(&[&one, &two, &three]);
    let server = scene.serve_run();
    let mut feed = server.events(None);
    let ids = feed.tells(&[&one, &two, &three]);

    // Nothing was taken back: nothing is told twice.
    replace(&[&one, &two, &three]);
    scene.append(&format!("{four}\n"));
    feed.tells(&[&four]);

    // Shorter, then as long as before with other lines, which look alike but for what they say.
    replace(&[&one]);
    feed.restarts();
    feed.tells(&[&one]);
    let stopped = r#"{"event":"stopped","step":1}"#.to_owned();
    replace(&[&one, &stopped, &two, &three]);
    feed.tells(&[&stopped, &two, &three]);
    replace(&[&one, &two, &stopped, &four]);
    feed.restarts();
    feed.tells(&[&one, &two, &stopped, &four]);

    // A browser that was away meanwhile had seen a third line, but another one.
    let mut back = server.events(Some(&ids[2]));
    back.restarts();
    back.tells(&[&one, &two, &stopped, &four]);
    server.events(Some(&ids[1])).tells(&[&stopped, &four]);
    server.events(Some("no id of ours")).restarts();
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_while_events_are_awaited() {
    let scene = Scene::new();
    let mut server = scene.serve_run();
    scene.append(&format!("{}\n", checkpoint(1)));
    let mut feed = server.events(None);
    feed.tells(&[&checkpoint(1)]);
    let asked = Instant::now();
    server.interrupt();
    assert_eq!(server.program.ends().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());

    // And from the moment that its address is known.
    let mut server = scene.serve(&[]);
    server.interrupt();
    assert_eq!(server.program.ends().code(), Some(0));
}

#[test]
fn what_is_missing_is_said() {
    let scene = Scene::new();
    let text = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let message = refused(&mut serve(&["--bundle", &text("run")]));
    assert!(message.contains("there is no page in ") && message.contains("cargo xtask web"), "{message}");
    let message = refused(&mut serve(&["--bundle", &text("web"), &text("nothing")]));
    assert!(message.contains("there is no folder "), "{message}");
    let message = refused(&mut serve(&["--bundle", &text("web"), &text("web")]));
    assert!(message.contains("holds no run"), "{message}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for address in [address.as_str(), "8787", "127.0.0.1", "256.0.0.1:80"] {
        let message = refused(&mut serve(&["--bundle", &text("web"), "--address", address]));
        assert!(message.contains(&format!("cannot listen on {address}: name a free address")), "{message}");
    }
}

#[test]
fn without_an_address_there_is_always_a_port() {
    let scene = Scene::new();
    // Held by this test, or by whatever else has it.
    let _taken = TcpListener::bind("127.0.0.1:8787");
    let server = Server::start(&["--bundle", scene.path("web").to_str().unwrap()]);
    assert_ne!(server.address.port(), 8787);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn other_machines_are_let_in_where_that_is_asked_for() {
    let scene = Scene::new();
    let bundle = scene.path("web");
    let mut server = Server::start(&["--address", "0.0.0.0:0", "--bundle", bundle.to_str().unwrap()]);
    assert!(server.address.ip().is_loopback(), "{}", server.url);
    let status = |host| server.send(&format!("GET / HTTP/1.1\r\nHost: {host}")).status;
    assert_eq!((status("192.168.1.5:80"), status("localhost"), status("evil.example")), (200, 200, 403));
    let said = server.program.said();
    assert_eq!(said.matches("is open to every machine that can reach it").count(), 1, "{said}");
}

#[test]
fn the_page_is_looked_for_beside_the_programs_folder() {
    let scene = Scene::new();
    let program = scene.path("release/slimclr");
    fs::create_dir(scene.path("release")).unwrap();
    copy(Path::new(env!("CARGO_BIN_EXE_slimclr")), &program);
    fs::remove_file(scene.path("web/index.html")).unwrap();
    let message = refused(Command::new(program).arg("serve"));
    assert!(
        message.contains(&format!("no page in {}", scene.path("web").canonicalize().unwrap().display())),
        "{message}"
    );
}

/// The same file where the file system can, a copy where it cannot.
fn copy(from: &Path, to: &Path) {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).unwrap();
}

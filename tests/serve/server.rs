//! Starts the server on temporary folders and sends it requests.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Time limit of a response.
const LIMIT: Duration = Duration::from_secs(20);

/// A bundle and a run's folder without events, beside a file that belongs to neither.
pub struct Folders {
    parent: TempDir,
}

impl Folders {
    pub fn new() -> Self {
        let folders = Self { parent: tempfile::tempdir().unwrap() };
        let write = |name: &str, text: &[u8]| {
            let path = folders.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("secret.txt", b"secret");
        write("web/index.html", b"<!doctype html><title>page</title>");
        write("web/page.js", b"import './a.js'");
        write("web/page.js.br", b"compressed");
        write("web/worker.wasm", b"\0asm");
        write("web/assets/images.webp", b"RIFF");
        write("run/config.toml", b"");
        folders
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    pub fn serve(&self, arguments: &[&str]) -> Server {
        let bundle = self.path("web");
        Server::start(&[&["--address", "127.0.0.1:0", "--bundle", bundle.to_str().unwrap()], arguments].concat())
    }

    pub fn serve_run(&self) -> Server {
        self.serve(&[self.path("run").to_str().unwrap()])
    }

    /// Appends to the run's events.
    pub fn append(&self, lines: &str) {
        let mut log = OpenOptions::new().append(true).create(true).open(self.path("run/events.jsonl")).unwrap();
        log.write_all(lines.as_bytes()).unwrap();
    }
}

pub fn serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    command.arg("serve").args(arguments);
    command
}

/// A process, killed at the end of the test.
pub struct Process(Child);

impl Process {
    /// Waits until it ends.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(start.elapsed() < LIMIT, "the process does not end"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it and returns its standard error.
    pub fn stderr(&mut self) -> String {
        self.0.kill().unwrap();
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        stderr
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server.
pub struct Server {
    pub process: Process,
    pub url: String,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        let child = serve(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut process = Process(child);
        let mut url = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some(address) = address else {
            panic!("no address in '{url}': {}", process.stderr());
        };
        Self { process, url, address }
    }

    /// Sends a request line and headers verbatim, followed by `Connection: close`.
    pub fn send(&self, head: &str) -> Response {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP status");
        let headers = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        Response { status, headers, reader }
    }

    /// Sends a request to the printed address, as a browser does.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Response {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {}{headers}", self.address))
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "")
    }

    /// Opens the stream of the run's events after the one with the id `last_id`.
    pub fn events(&self, last_id: Option<&str>) -> EventStream {
        let header = last_id.map(|id| format!("\r\nLast-Event-ID: {id}")).unwrap_or_default();
        let response = self.request("GET", "/run/events", &header);
        assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        EventStream { reader: response.reader }
    }

    pub fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.process.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

pub struct Response {
    pub status: u16,
    headers: Vec<String>,
    reader: BufReader<TcpStream>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter_map(|header| header.split_once(": "));
        named.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    pub fn body(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        self.reader.read_to_end(&mut body).unwrap();
        body
    }

    pub fn text(self) -> String {
        String::from_utf8(self.body()).unwrap()
    }
}

/// An open stream of Server-Sent Events.
pub struct EventStream {
    reader: BufReader<TcpStream>,
}

/// A Server-Sent Event as a browser parses it.
#[derive(Debug, Default, PartialEq)]
struct Message {
    event: String,
    id: String,
    data: String,
}

impl EventStream {
    /// Reads the next event, skipping chunk sizes and comments.
    fn next(&mut self) -> Message {
        let mut message = Message::default();
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < LIMIT, "nothing but comments");
            let mut line = String::new();
            assert_ne!(self.reader.read_line(&mut line).expect("an event in time"), 0, "the stream has ended");
            let line = line.trim_end();
            match line.split_once(": ") {
                Some(("event", event)) => message.event = event.into(),
                Some(("id", id)) => message.id = id.into(),
                Some(("data", data)) => message.data = data.into(),
                _ if line.is_empty() && !message.data.is_empty() => return message,
                _ => {}
            }
        }
    }

    /// Asserts that the next events are `lines`, and returns their ids.
    #[track_caller]
    pub fn expect_lines(&mut self, lines: &[&str]) -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                let message = self.next();
                assert_eq!((message.event.as_str(), message.data.as_str()), ("", *line));
                message.id
            })
            .collect()
    }

    #[track_caller]
    pub fn expect_restart(&mut self) {
        assert_eq!(self.next().event, "restart");
    }
}

/// An event as written in the file.
pub fn checkpoint(step: u64) -> String {
    format!(r#"{{"event":"checkpoint","step":{step}}}"#)
}

/// Runs the program, asserts that it ends with an error, and returns the error.
pub fn refused(command: &mut Command) -> String {
    let mut process = Process(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let status = process.wait();
    let message = process.stderr();
    assert_eq!(status.code(), Some(2), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

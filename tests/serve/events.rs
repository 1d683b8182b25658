use std::{
    fs,
    time::{Duration, Instant},
};

use crate::server::{Folders, checkpoint};

#[test]
fn events_are_streamed_from_the_first_one() {
    let folders = Folders::new();
    let server = folders.serve_run();
    assert_eq!(server.url, format!("http://{}/?live", server.address));
    let listing = || server.get("/run/run.json").text();
    assert_eq!(listing(), r#"{"files":[],"name":"run"}"#);
    assert_eq!(server.get("/run/checkpoint.safetensors").status, 404);

    // No events yet; then complete, incomplete and damaged lines.
    let mut early = server.events(None);
    let [one, two, three, four] = [1, 2, 3, 4].map(checkpoint);
    folders.append(&format!("{one}\n"));
    early.expect_lines(&[&one]);
    let (start, rest) = two.split_at(12);
    folders.append(start);
    std::thread::sleep(Duration::from_millis(600));
    folders.append(&format!("{rest}\nno event\n{{\"event\":\"unknown\"}}\n\n{three}\n"));
    early.expect_lines(&[&two, &three]);
    let ids = server.events(None).expect_lines(&[&one, &two, &three]);
    assert_eq!(ids.iter().map(|id| id.split('-').next().unwrap()).collect::<Vec<_>>(), ["1", "2", "6"]);

    // A browser that reconnects continues after the last event it received.
    let mut reconnected = server.events(Some(&ids[1]));
    reconnected.expect_lines(&[&three]);
    folders.append(&format!("{four}\n"));
    reconnected.expect_lines(&[&four]);
    early.expect_lines(&[&four]);

    fs::write(folders.path("run/checkpoint.safetensors"), "weights").unwrap();
    fs::write(folders.path("run/landscape.json"), "{}").unwrap();
    assert_eq!(listing(), r#"{"files":["events","landscape.json","checkpoint.safetensors"],"name":"run"}"#);
    assert_eq!(server.get("/run/checkpoint.safetensors").text(), "weights");
    let landscape = server.get("/run/landscape.json");
    assert_eq!(
        (landscape.header("content-type"), landscape.header("cache-control")),
        (Some("application/json"), Some("no-cache"))
    );
}

#[test]
fn events_are_streamed_again_when_a_run_resumes_from_its_checkpoint() {
    let folders = Folders::new();
    let [one, two, three, four] = [1, 2, 3, 4].map(checkpoint);
    let log = folders.path("run/events.jsonl");
    let replace = |lines: &[&String]| {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let new = folders.path("run/new");
        fs::write(&new, lines).unwrap();
        fs::rename(new, &log).unwrap();
    };
    replace(&[&one, &two, &three]);
    let server = folders.serve_run();
    let mut stream = server.events(None);
    let ids = stream.expect_lines(&[&one, &two, &three]);

    // No events were dropped, so none is sent again.
    replace(&[&one, &two, &three]);
    folders.append(&format!("{four}\n"));
    stream.expect_lines(&[&four]);

    // First a shorter file, then one of the same length with other lines.
    replace(&[&one]);
    stream.expect_restart();
    stream.expect_lines(&[&one]);
    let stopped = r#"{"event":"stopped","step":1}"#.to_owned();
    replace(&[&one, &stopped, &two, &three]);
    stream.expect_lines(&[&stopped, &two, &three]);
    replace(&[&one, &two, &stopped, &four]);
    stream.expect_restart();
    stream.expect_lines(&[&one, &two, &stopped, &four]);

    // A browser reconnects whose last event, the third line, has been replaced.
    let mut reconnected = server.events(Some(&ids[2]));
    reconnected.expect_restart();
    reconnected.expect_lines(&[&one, &two, &stopped, &four]);
    server.events(Some(&ids[1])).expect_lines(&[&stopped, &four]);
    server.events(Some("unknown id")).expect_restart();
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_server_while_a_stream_is_open() {
    let folders = Folders::new();
    let mut server = folders.serve_run();
    folders.append(&format!("{}\n", checkpoint(1)));
    let mut stream = server.events(None);
    stream.expect_lines(&[&checkpoint(1)]);
    let start = Instant::now();
    server.interrupt();
    assert_eq!(server.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // It works as soon as the address is printed.
    let mut server = folders.serve(&[]);
    server.interrupt();
    assert_eq!(server.process.wait().code(), Some(0));
}

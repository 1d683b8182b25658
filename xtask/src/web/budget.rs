//! The size of the bundle, and its limits.

use anyhow::{Result, ensure};

use super::bundle::{List, Listed};

/// A part of the bundle, and the most bytes that it may have.
struct Part {
    name: &'static str,
    contains: fn(&str) -> bool,
    raw: Option<u64>,
    brotli: Option<u64>,
}

const PARTS: [Part; 5] = [
    Part { name: "page's module", contains: |path| path == PAGE, raw: None, brotli: Some(413_000) },
    Part { name: "page, other files", contains: is_page, raw: None, brotli: None },
    Part { name: "worker", contains: is_worker, raw: Some(25_000_000), brotli: Some(3_000_000) },
    Part { name: "recording", contains: |path| path == RECORDING, raw: None, brotli: Some(300_000) },
    Part { name: "images, network", contains: is_data, raw: None, brotli: None },
];

const PAGE: &str = "page_bg.wasm";
const RECORDING: &str = "recording.jsonl";

fn is_worker(path: &str) -> bool {
    path.starts_with("slimclr_worker") || path == "worker.js"
}

fn is_data(path: &str) -> bool {
    [".webp", ".safetensors"].iter().any(|extension| path.ends_with(extension))
}

fn is_page(path: &str) -> bool {
    ![PAGE, RECORDING].contains(&path) && !is_worker(path) && !is_data(path)
}

/// Prints the size of each part.
///
/// # Errors
/// If a part exceeds its limit.
pub fn check(list: &List) -> Result<()> {
    println!("{:<18}{:>22}{:>22}", "", "raw, kB", "brotli, kB");
    let mut over = Vec::new();
    for part in &PARTS {
        let files: Vec<&Listed> = list.files.iter().filter(|file| (part.contains)(&file.path)).collect();
        let raw = files.iter().map(|file| file.bytes).sum();
        let brotli = files.iter().map(|file| file.brotli.unwrap_or(file.bytes)).sum();
        println!("{:<18}{:>22}{:>22}", part.name, cell(raw, part.raw), cell(brotli, part.brotli));
        if part.raw.is_some_and(|most| raw > most) || part.brotli.is_some_and(|most| brotli > most) {
            over.push(part.name);
        }
    }
    ensure!(over.is_empty(), "the bundle is too large: {} exceed their limits", over.join(" and "));
    Ok(())
}

fn cell(bytes: u64, most: Option<u64>) -> String {
    let kilobytes = bytes.div_ceil(1000);
    match most {
        Some(most) => format!("{kilobytes} of {}", most / 1000),
        None => kilobytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: u64, brotli: Option<u64>) -> Listed {
        Listed { path: path.into(), bytes, brotli, sha256: String::new() }
    }

    #[test]
    fn every_part_has_its_own_limit() {
        let list = |files| List { version: String::new(), files };
        let page = |brotli| file("page_bg.wasm", 900_000, Some(brotli));
        let worker = |bytes| file("slimclr_worker_bg.wasm", bytes, Some(2_900_000));
        let images = || file("images/train.webp", 9_000_000, None);
        check(&list(vec![page(413_000), worker(25_000_000), images()])).unwrap();
        let error = check(&list(vec![page(413_001), worker(25_000_001), images()])).unwrap_err().to_string();
        assert!(error.contains("page's module and worker"), "{error}");
    }
}

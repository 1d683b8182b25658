//! The size of the bundle, and its limits.

use anyhow::{Result, ensure};

use super::bundle::{List, Listed};

/// A part of a bundle, and the most bytes that it may have.
pub struct Part {
    name: &'static str,
    contains: fn(&str) -> bool,
    raw: Option<u64>,
    brotli: Option<u64>,
}

/// Parts of the page's bundle.
pub const PAGE: [Part; 5] = [
    Part { name: "page's module", contains: |path| path == PAGE_MODULE, raw: None, brotli: Some(405_000) },
    Part { name: "page, other files", contains: is_page, raw: None, brotli: None },
    Part { name: "worker", contains: is_worker, raw: Some(25_000_000), brotli: Some(3_000_000) },
    Part { name: "recording", contains: |path| path == RECORDING, raw: None, brotli: Some(300_000) },
    Part { name: "images, network", contains: is_data, raw: None, brotli: None },
];

/// Parts of the JavaScript package.
pub const PACKAGE: [Part; 3] = [
    Part { name: "on the CPU", contains: computes_on_the_cpu, raw: None, brotli: Some(1_000_000) },
    Part { name: "on WebGPU, too", contains: is_webgpu, raw: Some(25_000_000), brotli: Some(3_000_000) },
    Part {
        name: "documents",
        contains: |path| !is_webgpu(path) && !computes_on_the_cpu(path),
        raw: None,
        brotli: None,
    },
];

const PAGE_MODULE: &str = "page_bg.wasm";
const RECORDING: &str = "recording.jsonl";

fn is_webgpu(path: &str) -> bool {
    path.starts_with("webgpu")
}

fn computes_on_the_cpu(path: &str) -> bool {
    !is_webgpu(path) && [".js", ".wasm"].iter().any(|extension| path.ends_with(extension))
}

fn is_worker(path: &str) -> bool {
    path.starts_with("slimclr_worker") || path == "worker.js"
}

fn is_data(path: &str) -> bool {
    [".webp", ".safetensors"].iter().any(|extension| path.ends_with(extension))
}

fn is_page(path: &str) -> bool {
    ![PAGE_MODULE, RECORDING].contains(&path) && !is_worker(path) && !is_data(path)
}

/// Prints the size of each part.
///
/// # Errors
/// If a part exceeds its limit.
pub fn check(parts: &[Part], list: &List) -> Result<()> {
    println!("{:<18}{:>22}{:>22}", "", "raw, kB", "brotli, kB");
    let mut over = Vec::new();
    for part in parts {
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
        check(&PAGE, &list(vec![page(405_000), worker(25_000_000), images()])).unwrap();
        let error = check(&PAGE, &list(vec![page(405_001), worker(25_000_001), images()])).unwrap_err().to_string();
        assert!(error.contains("page's module and worker"), "{error}");
    }

    #[test]
    fn the_package_is_small_without_webgpu() {
        let list = |cpu| List {
            version: String::new(),
            files: vec![
                file("cpu_bg.wasm", 3_000_000, Some(cpu)),
                file("network.js", 5_000, Some(1_000)),
                file("webgpu_bg.wasm", 12_000_000, Some(2_000_000)),
                file("README.md", 2_000, None),
            ],
        };
        check(&PACKAGE, &list(999_000)).unwrap();
        let error = check(&PACKAGE, &list(999_001)).unwrap_err().to_string();
        assert!(error.contains("on the CPU"), "{error}");
    }
}

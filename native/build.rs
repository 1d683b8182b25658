//! Turns on identical code folding if the linker supports it: many generic kernel launchers compile to the same code.

use std::{env, error::Error, fs, path::PathBuf, process::Command};

const FOLD: &str = "-Wl,--icf=all";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let source = PathBuf::from(env::var("OUT_DIR")?).join("linked.rs");
    fs::write(&source, "fn main() {}")?;
    // Links a test program as cargo will link this one.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linker = env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    let linked = Command::new(env::var("RUSTC")?)
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(linker)
        .args(["--target", &env::var("TARGET")?, "-C", &format!("link-arg={FOLD}"), "-o"])
        .args([source.with_extension(""), source])
        .output()?;
    if linked.status.success() {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
    Ok(())
}

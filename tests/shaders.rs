//! Validates the shaders as a browser does.

use std::{fs, path::Path};

use naga::{
    front::wgsl,
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

/// Parses and validates a shader against WebGPU's base capabilities. The error includes the position.
fn check(source: &str) -> Result<ModuleInfo, String> {
    let module = wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    validator.validate(&module).map_err(|error| error.emit_to_string(source))
}

#[test]
fn every_shader_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shaders");
    let mut checked = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "wgsl", "{} is not a shader", path.display());
        if let Err(error) = check(&fs::read_to_string(&path).unwrap()) {
            panic!("{}: {error}", path.display());
        }
        checked += 1;
    }
    assert!(checked > 0, "{} is empty", folder.display());
}

#[test]
fn invalid_shaders_are_rejected() {
    let unfinished = check("@fragment fn paint() -> @location(0) vec4f {").unwrap_err();
    assert!(unfinished.contains("expected"), "{unfinished}");
    let mistyped = check("@fragment fn paint() -> @location(0) vec4f { return vec3f(1.0); }").unwrap_err();
    assert!(mistyped.contains("paint"), "{mistyped}");
    let unbound = check("@fragment fn paint() -> @location(0) vec4f { return colour; }").unwrap_err();
    assert!(unbound.contains("colour"), "{unbound}");
}

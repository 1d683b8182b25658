//! Commands that are printed for the user to paste into a shell.

use std::{ffi::OsStr, path::Path};

/// Returns the command line of this program with `arguments`, quoted where a shell needs it.
pub fn command<Argument: AsRef<OsStr>>(arguments: impl IntoIterator<Item = Argument>) -> String {
    let quoted = arguments.into_iter().map(|argument| quoted(argument.as_ref()));
    ["slimclr".to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Quotes a path for a shell, so that it is not read as a flag either.
pub fn path(path: &Path) -> String {
    match path.as_os_str().as_encoded_bytes() {
        [b'-', ..] => quoted(Path::new(".").join(path).as_os_str()),
        _ => quoted(path.as_os_str()),
    }
}

/// Quotes an argument for a shell. Control characters, and bytes that are not UTF-8, are escaped.
fn quoted(argument: &OsStr) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,=:+@".contains(c);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        _ if cfg!(windows) => format!("\"{}\"", argument.to_string_lossy()),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("$'{}'", argument.as_encoded_bytes().utf8_chunks().map(escaped).collect::<String>()),
    }
}

/// Escapes characters as Bash and Zsh read them between `$'` and `'`.
fn escaped(chunk: std::str::Utf8Chunk) -> String {
    let mut text = String::new();
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    for c in chunk.valid().chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            _ if c.is_control() => text += &hexadecimal(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => text.push(c),
        }
    }
    text + &hexadecimal(chunk.invalid())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::ffi::OsStrExt, process::Command};

    use super::*;

    #[test]
    fn a_shell_reads_what_was_quoted() {
        assert_eq!(path(Path::new("runs/mini-1")), "runs/mini-1");
        assert_eq!(path(Path::new("-o")), "./-o");
        assert_eq!(
            command(["pretrain", "--data", "my images", "--widths=1.0,0.5", "it's", ""]),
            r"slimclr pretrain --data 'my images' --widths=1.0,0.5 'it'\''s' ''"
        );
        assert_eq!(quoted(OsStr::from_bytes(b"a'\x1b\n\xe9f")), r"$'a\'\x1b\x0a\xe9f'");
        let names: [&[u8]; 5] =
            [b"$HOME `ls` *", b"~/x-{0..9}.tar", "café \u{85}".as_bytes(), b"\\n\n\xe9f'", b"a;b&c|d\"e"];
        for name in names.map(OsStr::from_bytes) {
            let script = format!("printf %s {}", quoted(name));
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(OsStr::from_bytes(&output.stdout), name, "{script}");
        }
    }
}

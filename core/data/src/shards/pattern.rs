//! Names of shards by a pattern with braces, expanded as bash does.

/// Words of the names of shards of test images, or of their folder.
const TEST_NAMES: [&str; 5] = ["val", "valid", "validation", "test", "testing"];

/// Most names that a pattern may stand for.
const MOST: usize = 1_000_000;

/// Why a pattern names no files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An opening or a closing brace is alone.
    #[error("a brace is not closed or not opened; write a range such as {{000000..001281}}")]
    Unbalanced,
    /// The braces enclose neither a range nor a list.
    #[error("'{{{0}}}' is neither a range such as {{000000..001281}} nor a list such as {{train,val}}")]
    Braces(String),
    /// It stands for too many names.
    #[error("it stands for more than {MOST} files")]
    TooMany,
}

/// Expands the braces of `pattern`, in order: ranges of numbers, `{000..009}` or `{0..8..2}`, and lists, `{train,val}`.
/// They may be nested. Numbers are padded to the longer end's digits if an end begins with 0.
///
/// # Errors
/// If braces are unbalanced or enclose something else, or it stands for more than a million names.
pub fn expand(pattern: &str) -> Result<Vec<String>, PatternError> {
    let Some(open) = pattern.find(['{', '}']) else { return Ok(vec![pattern.to_owned()]) };
    let (before, braced) = pattern.split_at(open);
    let close = closing(braced).ok_or(PatternError::Unbalanced)?;
    let (body, after) = (&braced[1..close], expand(&braced[close + 1..])?);
    let choices = match range(body) {
        Some(numbers) => numbers?,
        None => {
            let choices = split_at_commas(body);
            if choices.len() < 2 {
                return Err(PatternError::Braces(body.to_owned()));
            }
            choices.into_iter().map(expand).collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    if choices.len().saturating_mul(after.len()) > MOST {
        return Err(PatternError::TooMany);
    }
    Ok(choices.iter().flat_map(|choice| after.iter().map(move |after| format!("{before}{choice}{after}"))).collect())
}

/// Returns whether a shard is named as one of test images, itself or its folder, as in `imagenet-val-000000.tar` and
/// `val/000000.tar`.
pub fn is_test(path: &str) -> bool {
    let mut parts = path.rsplit(['/', '\\']);
    let is_test = |word: &str| TEST_NAMES.iter().any(|name| word.eq_ignore_ascii_case(name));
    let names_test = |part: &str| part.split(|character: char| !character.is_alphabetic()).any(is_test);
    parts.next().is_some_and(names_test) || parts.next().is_some_and(is_test)
}

/// Returns the place of the brace that closes the one at the start of `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (place, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth < 2 => return (depth == 1).then_some(place),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits at the commas outside of inner braces.
fn split_at_commas(body: &str) -> Vec<&str> {
    let mut depth = 0;
    let at_comma = |character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    };
    body.split(at_comma).collect()
}

/// Lists the numbers of `first..last` or `first..last..step`; `None` if it is no range.
fn range(body: &str) -> Option<Result<Vec<String>, PatternError>> {
    let ends: Vec<&str> = body.split("..").collect();
    let numbers: Vec<u64> = ends.iter().map(|end| parse(end)).collect::<Option<_>>()?;
    let (first, last, step) = match numbers[..] {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.max(1)),
        _ => return None,
    };
    let count = first.abs_diff(last) / step + 1;
    if count > MOST as u64 {
        return Some(Err(PatternError::TooMany));
    }
    let is_padded = ends[..2].iter().any(|end| end.len() > 1 && end.starts_with('0'));
    let digits = if is_padded { ends[0].len().max(ends[1].len()) } else { 0 };
    let number = |place| if first <= last { first + place * step } else { first - place * step };
    Some(Ok((0..count).map(|place| format!("{:0digits$}", number(place))).collect()))
}

/// Parses digits alone: no sign, which `u64` would take.
fn parse(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_as_in_bash() {
        for (pattern, expected) in [
            ("a.tar", &["a.tar"][..]),
            ("x-{008..011}.tar", &["x-008.tar", "x-009.tar", "x-010.tar", "x-011.tar"]),
            ("{9..11}", &["9", "10", "11"]),
            ("{0..10..5}", &["0", "5", "10"]),
            ("{2..0}", &["2", "1", "0"]),
            ("{5..5}", &["5"]),
            ("{train,val}-{0..1}", &["train-0", "train-1", "val-0", "val-1"]),
            ("{a-{00..01},b,}.tar", &["a-00.tar", "a-01.tar", "b.tar", ".tar"]),
            ("{a,{b,c}}{1,2}", &["a1", "a2", "b1", "b2", "c1", "c2"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), expected, "{pattern}");
        }
        assert_eq!(expand("imagenet-{000000..001281}.tar").unwrap().len(), 1282);
    }

    #[test]
    fn shards_of_test_images_are_known_by_name() {
        for path in ["imagenet-val-000.tar", "a/val/000.tar", "VAL000.tar", "x_test.tar", "c:\\validation\\0.tar"] {
            assert!(is_test(path), "{path}");
        }
        for path in ["train-000.tar", "valley-0.tar", "val/train/0.tar", "test-set/000.tar", ""] {
            assert!(!is_test(path), "{path}");
        }
    }

    #[test]
    fn what_names_no_files_is_refused() {
        for (pattern, expected) in [
            ("a{1..2", PatternError::Unbalanced),
            ("a1..2}", PatternError::Unbalanced),
            ("{a,{b}", PatternError::Unbalanced),
            ("{0..9}}", PatternError::Unbalanced),
            ("x-{000.009}", PatternError::Braces("000.009".into())),
            ("{-1..3}", PatternError::Braces("-1..3".into())),
            ("{}", PatternError::Braces(String::new())),
            ("{0..99999999999999999999}", PatternError::Braces("0..99999999999999999999".into())),
            ("{0..1000000}", PatternError::TooMany),
            ("{0..1000}{0..1000}", PatternError::TooMany),
        ] {
            assert_eq!(expand(pattern), Err(expected), "{pattern}");
        }
    }
}

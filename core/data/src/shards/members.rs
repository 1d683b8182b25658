//! Which members of a shard make a sample.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Extensions of members that are images. What they hold is recognised by content.
const IMAGES: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm"];

/// Above every class number: a set of images has at most this many classes.
const CLASSES: u32 = 1 << 20;

/// What a member holds, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The sample's image.
    Image,
    /// The number of its class, as text.
    Class,
    /// Something else of the sample, which is not used.
    Other,
}

/// An image in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the image's member.
    pub name: Box<str>,
    /// Place of its first byte in the shard.
    pub offset: u64,
    /// Its bytes.
    pub size: u32,
    /// The number of its class, if it has one.
    pub class: Option<u32>,
}

/// Why a part of a shard is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Omission {
    /// A `.cls` that stands alone.
    NoImage,
    /// An image whose `.cls` is not the number of a class.
    NotAClass,
    /// A member whose sample has one of the same kind already.
    Repeated,
    /// A shard that is damaged, or ends without the mark of its end: what follows is not used.
    CutShort,
    /// An image without `.cls` beside others that have one.
    NoClass,
}

impl Omission {
    /// Describes `count` of them.
    pub fn describe(self, count: usize) -> String {
        let (one, many) = match self {
            Self::NoImage => ("`.cls` without an image beside it", "`.cls` without an image beside them"),
            Self::NotAClass => ("image whose `.cls` is no class number", "images whose `.cls` is no class number"),
            Self::Repeated => ("repeated member", "repeated members"),
            Self::CutShort => {
                ("rest of a shard that is cut short or damaged", "rests of shards that are cut short or damaged")
            }
            Self::NoClass => ("image without a `.cls` beside it", "images without a `.cls` beside them"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
    }
}

/// What is not used: how often, and the first name, by reason.
pub type Omitted = BTreeMap<Omission, (usize, String)>;

/// Splits the path of a member into the key of its sample and its role, as WebDataset does: at the first dot of its
/// last part. Returns `None` for what is no part of a sample: without an extension, hidden, or WebDataset's own
/// `__name__`.
pub fn role(path: &str) -> Option<(&str, Role)> {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = last + path[last..].find('.')?;
    let is_meta = path.split('/').any(|part| part.starts_with("__") && part.ends_with("__"));
    if dot == last || is_meta {
        return None;
    }
    let extension = path[dot + 1..].to_ascii_lowercase();
    let role = match extension.as_str() {
        "cls" => Role::Class,
        image if IMAGES.contains(&image) => Role::Image,
        _ => Role::Other,
    };
    Some((&path[..dot], role))
}

/// Groups the members of a shard into samples. A sample is a run of neighbouring members with one key, so two runs with
/// the same key are two samples, as for WebDataset.
#[derive(Debug, Default)]
pub struct Samples {
    found: Vec<Sample>,
    omitted: Omitted,
    key: String,
    image: Option<Sample>,
    /// The name of the current sample's `.cls`, and the number in it.
    class: Option<(String, Option<u32>)>,
}

impl Samples {
    /// Adds an image of `size` bytes at `offset`.
    pub fn image(&mut self, key: &str, name: &str, offset: u64, size: u32) {
        self.begin(key);
        match &self.image {
            Some(_) => self.omit(Omission::Repeated, name),
            None => self.image = Some(Sample { name: name.into(), offset, size, class: None }),
        }
    }

    /// Adds the text of a `.cls`.
    pub fn class(&mut self, key: &str, name: &str, text: &[u8]) {
        self.begin(key);
        if self.class.is_some() {
            return self.omit(Omission::Repeated, name);
        }
        let number = str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        self.class = Some((name.to_owned(), number.filter(|number| *number < CLASSES)));
    }

    /// Records something that is not used.
    pub fn omit(&mut self, why: Omission, name: &str) {
        self.omitted.entry(why).or_insert_with(|| (0, name.to_owned())).0 += 1;
    }

    /// Returns the samples with an image, in order, and what is not used.
    pub fn finish(mut self) -> (Vec<Sample>, Omitted) {
        self.end();
        (self.found, self.omitted)
    }

    fn begin(&mut self, key: &str) {
        if self.key != key {
            self.end();
            self.key = key.to_owned();
        }
    }

    fn end(&mut self) {
        match (self.image.take(), self.class.take()) {
            (Some(_), Some((name, None))) => self.omit(Omission::NotAClass, &name),
            (Some(image), class) => self.found.push(Sample { class: class.and_then(|(_, number)| number), ..image }),
            (None, Some((name, _))) => self.omit(Omission::NoImage, &name),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_last_part() {
        for (path, expected) in [
            ("000.jpg", Some(("000", Role::Image))),
            ("a.b/c/x.JPEG", Some(("a.b/c/x", Role::Image))),
            ("x.cls", Some(("x", Role::Class))),
            ("x.left.jpg", Some(("x", Role::Other))),
            ("x.json", Some(("x", Role::Other))),
            ("./a/x.webp", Some(("./a/x", Role::Image))),
            ("a/._x.jpg", None),
            ("README", None),
            ("__meta__/x.jpg", None),
            ("", None),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
    }

    #[test]
    fn neighbouring_members_of_one_key_are_a_sample() {
        let mut samples = Samples::default();
        samples.image("a", "a.jpg", 512, 10);
        samples.class("a", "a.cls", b"3\n");
        samples.class("b", "b.cls", b" 4");
        samples.image("b", "b.png", 1024, 20);
        samples.image("c", "c.jpg", 2048, 30);
        samples.image("c", "c.png", 3072, 40);
        samples.class("d", "d.cls", b"1");
        samples.image("e", "e.jpg", 4096, 50);
        samples.class("e", "e.cls", b"cat");
        samples.image("a", "a.jpg", 5120, 60);
        let (found, omitted) = samples.finish();
        let found: Vec<_> = found.iter().map(|it| (&*it.name, it.offset, it.size, it.class)).collect();
        assert_eq!(
            found,
            [
                ("a.jpg", 512, 10, Some(3)),
                ("b.png", 1024, 20, Some(4)),
                ("c.jpg", 2048, 30, None),
                ("a.jpg", 5120, 60, None),
            ]
        );
        let omitted: Vec<_> = omitted.iter().map(|(why, (count, name))| (*why, *count, name.as_str())).collect();
        assert_eq!(
            omitted,
            [(Omission::NoImage, 1, "d.cls"), (Omission::NotAClass, 1, "e.cls"), (Omission::Repeated, 1, "c.png")]
        );
    }

    #[test]
    fn a_class_is_a_number_in_bounds() {
        for (text, expected) in [
            (&b"0"[..], Some(0)),
            (b"999", Some(999)),
            (b"-1", None),
            (b"4294967295", None),
            (b"", None),
            (b"\xff", None),
        ] {
            let mut samples = Samples::default();
            samples.image("a", "a.jpg", 0, 1);
            samples.class("a", "a.cls", text);
            let found = samples.finish().0;
            assert_eq!(found.first().and_then(|sample| sample.class), expected, "{text:?}");
            assert_eq!(found.len(), usize::from(expected.is_some()), "{text:?}");
        }
    }
}

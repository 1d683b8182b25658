//! What the files of a large folder are, kept in the user's cache, so that the next start opens only new and changed
//! files.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use slimclr_core::data::look::Look;

use crate::{
    cache_folder::cache_folder,
    files::{create_folder, write_atomically},
};

/// Minimum number of files of a folder whose listing is cached; examining fewer takes no time.
const LEAST: usize = 1000;

/// Changes whenever the recognition of files or the format of the listing changes.
const VERSION: &str = concat!("slimclr ", env!("CARGO_PKG_VERSION"), ", listing 1");

/// Coarsest resolution of modification times. A file modified this recently may change again without its time telling,
/// so it is not remembered.
const RESOLUTION: Duration = Duration::from_secs(2);

/// What changes when a file's content does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Its length in bytes.
    pub size: u64,
    /// When it was last modified, since 1970; `None` if that is unknown.
    pub modified: Option<Duration>,
}

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { size: file.len(), modified }
    }
}

/// The files of a folder at the last start, by path.
#[derive(Default)]
pub struct Listing {
    place: Option<PathBuf>,
    known: HashMap<Vec<u8>, (Stamp, Look)>,
    /// When it was read, since 1970.
    now: Duration,
}

impl Listing {
    /// Reads the listing of the folder `root`. It is empty if there is none, or it is damaged.
    pub fn read(root: &Path) -> Self {
        Self::read_from(cache_folder().map(|folder| folder.join("listings")), root)
    }

    fn read_from(cache: Option<PathBuf>, root: &Path) -> Self {
        let name = |root: PathBuf| HEXLOWER.encode(&Sha256::digest(root.as_os_str().as_encoded_bytes())[..16]);
        let place = cache.zip(root.canonicalize().ok()).map(|(folder, root)| folder.join(name(root)));
        let known = place.as_ref().and_then(|place| parse(&fs::read(place).ok()?)).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { place, known, now }
    }

    /// Returns what a file is, unless it is new or has changed.
    pub fn look(&self, path: &[u8], stamp: Stamp) -> Option<&Look> {
        self.known.get(path).filter(|(known, _)| *known == stamp).map(|(_, look)| look)
    }

    /// Writes the listing of all files for the next start, unless it is the same. A cache that cannot be written is no
    /// error: the next start takes longer.
    pub fn update<'a>(&self, files: impl Iterator<Item = (&'a [u8], Stamp, &'a Look)>) {
        let is_old = |stamp: &Stamp| stamp.modified.is_some_and(|modified| modified + RESOLUTION < self.now);
        let mut records = Vec::new();
        let (mut count, mut is_same) = (0, true);
        for (path, stamp, look) in files.filter(|(_, stamp, look)| is_old(stamp) && is_lasting(look)) {
            count += 1;
            is_same &= self.look(path, stamp) == Some(look);
            write_record(&mut records, path, stamp, look);
        }
        let Some(place) = &self.place else { return };
        if count < LEAST || is_same && count == self.known.len() {
            return;
        }
        let mut listing = format!("{VERSION}, {}\0", HEXLOWER.encode(&Sha256::digest(&records))).into_bytes();
        listing.append(&mut records);
        let folder = place.parent().expect("it is in the folder of listings");
        let _ = create_folder(folder).and_then(|()| write_atomically(place, &listing));
    }
}

/// Returns whether a file stays what it is while its size and time stay.
fn is_lasting(look: &Look) -> bool {
    !matches!(look, Look::Unopened | Look::DanglingLink | Look::EmptyFolder)
}

/// Appends a record: size, seconds and nanoseconds of the time, and what the file is as JSON, each ended by a tab, and
/// the path, ended by a zero.
fn write_record(records: &mut Vec<u8>, path: &[u8], stamp: Stamp, look: &Look) {
    let Some(modified) = stamp.modified else { return };
    let look = serde_json::to_string(look).expect("it has only names and text");
    let fields = format!("{}\t{}\t{}\t{look}\t", stamp.size, modified.as_secs(), modified.subsec_nanos());
    records.extend_from_slice(fields.as_bytes());
    records.extend_from_slice(path);
    records.push(0);
}

/// Reads a listing; `None` if it is damaged or of another version.
fn parse(listing: &[u8]) -> Option<HashMap<Vec<u8>, (Stamp, Look)>> {
    let end = listing.iter().position(|byte| *byte == 0)?;
    let (header, records) = (&listing[..end], &listing[end + 1..]);
    if header != format!("{VERSION}, {}", HEXLOWER.encode(&Sha256::digest(records))).as_bytes() {
        return None;
    }
    records.split(|byte| *byte == 0).filter(|record| !record.is_empty()).map(read_record).collect()
}

fn read_record(record: &[u8]) -> Option<(Vec<u8>, (Stamp, Look))> {
    let mut fields = record.splitn(5, |byte| *byte == b'\t');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok();
    let [size, seconds, nanoseconds] = [number()?, number()?, number()?];
    let look = serde_json::from_slice(fields.next()?).ok()?;
    let modified = Some(Duration::new(seconds, nanoseconds as u32));
    Some((fields.next()?.to_vec(), (Stamp { size, modified }, look)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Stamp = Stamp { size: 7, modified: Some(Duration::new(1_000_000_000, 5)) };

    /// Names 1,000 files in class folders, one of them with a name that is not UTF-8.
    fn names() -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> =
            (0..LEAST).map(|number| format!("class\t{}/{number}.jpg", number % 7).into()).collect();
        names[3] = b"caf\xe9/\n.jpg".to_vec();
        names
    }

    #[test]
    fn the_next_start_knows_what_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Listing::read_from(Some(folder.path().join("cache/listings")), folder.path());
        let names = names();
        let look = |number: usize| match number {
            0 => Look::Misnamed("HEIC image".into()),
            1 => Look::Damaged,
            _ => Look::Image,
        };
        let looks: Vec<Look> = (0..LEAST).map(look).collect();
        let files = || names.iter().zip(&looks).map(|(name, look)| (name.as_slice(), OLD, look));
        read().update(files());
        let listing = read();
        assert!(files().all(|(name, stamp, look)| listing.look(name, stamp) == Some(look)));
        assert_eq!(listing.look(b"class/new.jpg", OLD), None);
        assert_eq!(listing.look(&names[2], Stamp { size: 8, ..OLD }), None);
        assert_eq!(listing.look(&names[2], Stamp { modified: Some(Duration::new(1_000_000_000, 6)), ..OLD }), None);

        // Nothing is written if nothing has changed; a removed file is forgotten.
        let place = listing.place.clone().unwrap();
        fs::write(&place, "damaged").unwrap();
        assert_eq!(read().look(&names[2], OLD), None);
        listing.update(files());
        assert_eq!(fs::read(&place).unwrap(), b"damaged");
        let more = [(&b"one.jpg"[..], OLD, &Look::Image)];
        listing.update(files().skip(1).chain(more));
        assert_eq!(
            [&names[0][..], &names[1], b"one.jpg"].map(|name| read().look(name, OLD).cloned()),
            [None, Some(Look::Damaged), Some(Look::Image),]
        );
        // A flipped bit.
        let mut bytes = fs::read(&place).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&place, bytes).unwrap();
        assert!(read().known.is_empty());
    }

    #[test]
    fn recent_and_passing_things_are_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Listing::read_from(Some(folder.path().to_path_buf()), folder.path());
        let names = names();
        let now = Stamp { modified: SystemTime::now().duration_since(UNIX_EPOCH).ok(), ..OLD };
        let unknown = Stamp { modified: None, ..OLD };
        let files = names.iter().map(|name| (name.as_slice(), OLD, &Look::Image));
        let passing = [(&b"a"[..], now, &Look::Image), (b"b", unknown, &Look::Image), (b"c", OLD, &Look::Unopened)];
        read().update(files.chain(passing));
        let listing = read();
        assert_eq!(listing.known.len(), LEAST);
        assert!(passing.iter().all(|(name, stamp, _)| listing.look(name, *stamp).is_none()));
    }

    #[test]
    fn small_folders_leave_nothing_in_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        Listing::read_from(Some(cache.clone()), folder.path()).update([(&b"a.jpg"[..], OLD, &Look::Image)].into_iter());
        assert!(!cache.exists());
    }
}

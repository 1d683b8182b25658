//! Safetensors files larger than memory: written row by row, read through a memory mapping.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
};

use data_encoding::HEXLOWER;
use memmap2::Mmap;
use safetensors::{
    Dtype, SafeTensors,
    tensor::{Metadata, TensorInfo},
};
use sha2::{Digest, Sha256};

/// The key of the digest in a file's metadata.
const DIGEST: &str = "sha256";

/// Bytes of the length of the header, with which a file begins.
const LENGTH: usize = 8;

/// Bytes that are copied or hashed at once.
const BLOCK: usize = 1 << 24;

/// Bytes of a mapping that may be resident before it lets go of them. The system's cache keeps them while it has room.
#[cfg(unix)]
const RESIDENT: usize = 1 << 30;

/// Most bytes around a row that the system makes resident with it: a huge page.
#[cfg(unix)]
const HUGE_PAGE: usize = 1 << 21;

/// A tensor of a [`GrowingFile`].
pub struct GrowingTensor {
    name: String,
    dtype: Dtype,
    /// Dimensions of a row.
    row: Vec<usize>,
    rows: usize,
    /// Most rows that it has room for.
    capacity: usize,
    hash: Sha256,
}

impl GrowingTensor {
    /// Describes a tensor of at most `capacity` rows of the shape `row`.
    pub fn new(name: String, dtype: Dtype, row: &[usize], capacity: usize) -> Self {
        Self { name, dtype, row: row.to_vec(), rows: 0, capacity, hash: Sha256::new() }
    }

    fn shape(&self, rows: usize) -> Vec<usize> {
        [&[rows], &self.row[..]].concat()
    }

    fn row_bytes(&self) -> usize {
        self.row.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// A safetensors file that is being written: each of its tensors grows row by row, up to a number known at the start.
pub struct GrowingFile {
    file: File,
    tensors: Vec<GrowingTensor>,
    /// Bytes before the first tensor.
    start: usize,
}

impl GrowingFile {
    /// Lays out the `tensors`, in this order, in an empty file.
    ///
    /// # Errors
    /// If their sizes overflow.
    pub fn new(file: File, tensors: Vec<GrowingTensor>) -> io::Result<Self> {
        // No header is longer than that of the full tensors.
        let header = header(&tensors, |tensor| tensor.capacity, &HEXLOWER.encode(&Sha256::digest([])))?;
        Ok(Self { file, start: (LENGTH + header.len()).next_multiple_of(LENGTH), tensors })
    }

    /// Returns the number of rows so far of the tensor called `name`.
    pub fn rows(&self, name: &str) -> usize {
        self.tensors.iter().find(|tensor| tensor.name == name).map_or(0, |tensor| tensor.rows)
    }

    /// Appends rows, as little-endian bytes, to the tensor called `name`.
    ///
    /// # Errors
    /// If they cannot be written, or the tensor has no room for them.
    pub fn append(&mut self, name: &str, rows: &[u8]) -> io::Result<()> {
        let position = self.tensors.iter().position(|tensor| tensor.name == name).ok_or(io::ErrorKind::NotFound)?;
        let start = self.start + offsets(&self.tensors, |tensor| tensor.capacity)[position];
        let tensor = &mut self.tensors[position];
        let row = tensor.row_bytes();
        if tensor.rows + rows.len() / row > tensor.capacity {
            return Err(io::Error::other(format!("there are more than {} {name}", tensor.capacity)));
        }
        self.file.seek(SeekFrom::Start((start + tensor.rows * row) as u64))?;
        self.file.write_all(rows)?;
        tensor.hash.update(rows);
        tensor.rows += rows.len() / row;
        Ok(())
    }

    /// Closes the gaps that tensors with fewer rows than expected leave, and writes the header. Its metadata has a digest
    /// of `inputs`, which the tensors were computed from, and of the tensors.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self, inputs: &Sha256) -> io::Result<File> {
        let from = offsets(&self.tensors, |tensor| tensor.capacity);
        let to = offsets(&self.tensors, |tensor| tensor.rows);
        for (tensor, (from, to)) in self.tensors.iter().zip(from.into_iter().zip(&to)) {
            let bytes = tensor.rows * tensor.row_bytes();
            move_down(&mut self.file, [self.start + from, self.start + to], bytes)?;
        }
        let hashes = self
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.shape(tensor.rows), tensor.hash.clone().finalize().to_vec()));
        let digest = digest(inputs, hashes);
        let mut header = header(&self.tensors, |tensor| tensor.rows, &digest)?;
        header.resize(self.start - LENGTH, b' ');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&(header.len() as u64).to_le_bytes())?;
        self.file.write_all(&header)?;
        self.file.set_len((self.start + to[self.tensors.len()]) as u64)?;
        Ok(self.file)
    }
}

/// Returns where each tensor begins, and where the last one ends, if each has this number of rows.
fn offsets(tensors: &[GrowingTensor], rows: impl Fn(&GrowingTensor) -> usize) -> Vec<usize> {
    let ends = tensors.iter().scan(0, |end, tensor| {
        *end += rows(tensor) * tensor.row_bytes();
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// Returns the header of a file in which each tensor has this number of rows.
fn header(tensors: &[GrowingTensor], rows: impl Fn(&GrowingTensor) -> usize, digest: &str) -> io::Result<Vec<u8>> {
    let offsets = offsets(tensors, &rows);
    let infos = tensors.iter().zip(offsets.windows(2)).map(|(tensor, ends)| {
        let info =
            TensorInfo { dtype: tensor.dtype, shape: tensor.shape(rows(tensor)), data_offsets: (ends[0], ends[1]) };
        (tensor.name.clone(), info)
    });
    let metadata = HashMap::from([(DIGEST.to_string(), digest.to_string())]);
    let header = Metadata::new(Some(metadata), infos.collect()).map_err(io::Error::other)?;
    serde_json::to_vec(&header).map_err(io::Error::other)
}

/// Moves `count` bytes of a file from one place to an earlier one.
fn move_down(file: &mut File, [from, to]: [usize; 2], count: usize) -> io::Result<()> {
    if from == to {
        return Ok(());
    }
    let mut block = vec![0; BLOCK.min(count)];
    for done in (0..count).step_by(BLOCK) {
        let block = &mut block[..BLOCK.min(count - done)];
        file.seek(SeekFrom::Start((from + done) as u64))?;
        file.read_exact(block)?;
        file.seek(SeekFrom::Start((to + done) as u64))?;
        file.write_all(block)?;
    }
    Ok(())
}

/// Hashes `inputs`, and the names, shapes and hashes of tensors computed from them, so that a mismatch reveals a stale
/// file as well as a damaged one.
fn digest<'a>(inputs: &Sha256, tensors: impl Iterator<Item = (&'a str, Vec<usize>, Vec<u8>)>) -> String {
    let mut all = inputs.clone();
    for (name, shape, hash) in tensors {
        all.update(format!("{name} {shape:?}"));
        all.update(hash);
    }
    HEXLOWER.encode(&all.finalize())
}

/// A safetensors file in a memory mapping.
#[derive(Debug)]
pub struct MappedFile {
    bytes: Mmap,
    header: Metadata,
    /// Bytes before the first tensor.
    start: usize,
    /// Upper limit of the resident bytes.
    resident: Cell<usize>,
}

impl MappedFile {
    /// Maps a file of this program.
    ///
    /// # Errors
    /// If it cannot be mapped or is not in the safetensors format.
    pub fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the program writes such a file under a temporary name and never changes it afterwards.
        let bytes = unsafe { Mmap::map(file) }?;
        let (length, header) = SafeTensors::read_metadata(&bytes).map_err(io::Error::other)?;
        Ok(Self { bytes, header, start: LENGTH + length, resident: Cell::new(0) })
    }

    /// Returns whether these tensors, undamaged, were computed from `inputs`. Reads the whole file.
    pub fn is_of(&self, inputs: &Sha256) -> bool {
        let names = self.header.offset_keys();
        let hashes = names.iter().map(|name| {
            let (shape, place) = self.tensor(name).expect("the name is the header's");
            let mut hash = Sha256::new();
            for start in place.clone().step_by(BLOCK) {
                let mut block = Vec::new();
                self.read(std::iter::once(start..(start + BLOCK).min(place.end)), &mut block);
                hash.update(&block);
            }
            (name.as_str(), shape.to_vec(), hash.finalize().to_vec())
        });
        let digest = digest(inputs, hashes);
        self.header.metadata().as_ref().and_then(|metadata| metadata.get(DIGEST)) == Some(&digest)
    }

    /// Returns the shape of the tensor called `name`, and its place in the file.
    pub fn tensor(&self, name: &str) -> Option<(&[usize], Range<usize>)> {
        let TensorInfo { shape, data_offsets: (start, end), .. } = self.header.info(name)?;
        Some((shape, self.start + start..self.start + end))
    }

    /// Reads parts of the file, appending them to `bytes`.
    pub fn read(&self, parts: impl Iterator<Item = Range<usize>> + Clone, bytes: &mut Vec<u8>) {
        // Asked for at once, so that the disk need not wait for one before it looks for the next.
        #[cfg(unix)]
        for part in parts.clone() {
            // Advice only: without it, the parts are read one by one.
            let _ = self.bytes.advise_range(memmap2::Advice::WillNeed, part.start, part.len());
        }
        for part in parts {
            #[cfg(unix)]
            self.count(part.len());
            bytes.extend_from_slice(&self.bytes[part]);
        }
    }

    /// Counts bytes that become resident, and lets go of all when there are many.
    #[cfg(unix)]
    fn count(&self, bytes: usize) {
        let resident = self.resident.get() + bytes.max(HUGE_PAGE);
        if resident < RESIDENT {
            return self.resident.set(resident);
        }
        self.resident.set(0);
        // SAFETY: the mapping is read-only and shared, so its pages are those of the file when they are read again.
        let _ = unsafe { self.bytes.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: &[u8] = b"a checkpoint";

    fn inputs() -> Sha256 {
        Sha256::new().chain_update(INPUTS)
    }

    /// Writes two tensors with room for `capacity` rows: three rows of two numbers, and two of one.
    fn write(capacity: usize) -> File {
        let tensors = vec![
            GrowingTensor::new("pairs".into(), Dtype::U16, &[2], capacity),
            GrowingTensor::new("bytes".into(), Dtype::U8, &[], capacity),
        ];
        let mut file = GrowingFile::new(tempfile::tempfile().unwrap(), tensors).unwrap();
        file.append("pairs", &[1, 0, 2, 0]).unwrap();
        file.append("bytes", &[7]).unwrap();
        file.append("pairs", &[3, 0, 4, 0, 5, 0, 6, 0]).unwrap();
        file.append("bytes", &[8]).unwrap();
        file.finish(&inputs()).unwrap()
    }

    #[test]
    fn tensors_grow_interleaved_and_gaps_are_closed() {
        for capacity in [3, 4, 1000] {
            let mut file = write(capacity);
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let pairs = tensors.tensor("pairs").unwrap();
            assert_eq!((pairs.dtype(), pairs.shape()), (Dtype::U16, &[3, 2][..]));
            assert_eq!(pairs.data(), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
            assert_eq!(tensors.tensor("bytes").unwrap().data(), [7, 8]);

            let mapped = MappedFile::open(&file).unwrap();
            let (shape, place) = mapped.tensor("pairs").unwrap();
            assert_eq!(shape, [3, 2]);
            let mut read = Vec::new();
            mapped.read([place.start + 8..place.end, place.start..place.start + 4].into_iter(), &mut read);
            assert_eq!(read, [5, 0, 6, 0, 1, 0, 2, 0]);
        }
    }

    #[test]
    fn a_digest_reveals_other_inputs_and_damage() {
        let mut file = write(3);
        assert!(MappedFile::open(&file).unwrap().is_of(&inputs()));
        assert!(!MappedFile::open(&file).unwrap().is_of(&inputs().chain_update(INPUTS)));
        file.seek(SeekFrom::End(-1)).unwrap();
        file.write_all(&[9]).unwrap();
        assert!(!MappedFile::open(&file).unwrap().is_of(&inputs()));
        let length = file.metadata().unwrap().len();
        file.set_len(length - 1).unwrap();
        assert!(MappedFile::open(&file).is_err());
    }

    #[test]
    fn a_tensor_does_not_grow_into_the_next() {
        let tensors = vec![GrowingTensor::new("bytes".into(), Dtype::U8, &[], 2)];
        let mut file = GrowingFile::new(tempfile::tempfile().unwrap(), tensors).unwrap();
        let error = file.append("bytes", &[1, 2, 3]).unwrap_err();
        assert!(error.to_string().contains("more than 2 bytes"), "{error}");
    }
}

//! Files of features for other programs: NumPy arrays or safetensors, with a list of their images beside them. They are
//! written as the features are computed, so they may be larger than memory.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    slice,
};

use anyhow::{Context, Result, bail};
use burn::tensor::TensorData;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use slimclr_core::{eval::features::FeatureChunk, train::Split};
use tempfile::TempPath;

use crate::{
    data::Dataset,
    feature_cache::{free_bytes, host_values},
    files::{check_replaceable, create_folder, folder_of, sweep, temporary_file},
    tensor_file::{GrowingFile, GrowingTensor},
    terminal::count,
};

/// Bytes of the header of a NumPy file: enough for any shape, and a multiple of 64, as the format has it.
const NUMPY_HEADER: usize = 128;

/// Name of the tensor of labels.
const LABELS: &str = "labels";

/// Which widths are written.
pub enum Columns {
    /// One width, of this many features.
    One(usize),
    /// These widths, and the number of features of each.
    All(Vec<(f64, usize)>),
}

/// The names of the files.
pub struct FeaturePaths {
    matrices: MatrixPaths,
    list: PathBuf,
}

/// The names of the files of features, by their format.
enum MatrixPaths {
    /// A file for each width.
    Numpy(Vec<PathBuf>),
    /// One file for all widths.
    Safetensors(PathBuf),
}

impl FeaturePaths {
    /// Names the files: `out`, whose extension is their format, or with several widths of a NumPy array a file for each;
    /// and a list of the images, `.csv`.
    ///
    /// # Errors
    /// If the extension is another, or one of the files exists and it does not `overwrite` files.
    pub fn new(out: &Path, columns: &Columns, overwrites: bool) -> Result<Self> {
        let extension = out.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let matrices = match (extension.as_deref(), columns) {
            (Some("npy"), Columns::All(widths)) => {
                let stem = out.file_stem().unwrap_or_default().to_string_lossy();
                let of_width = |(width, _): &(f64, usize)| out.with_file_name(format!("{stem}-w{width}.npy"));
                MatrixPaths::Numpy(widths.iter().map(of_width).collect())
            }
            (Some("npy"), Columns::One(_)) => MatrixPaths::Numpy(vec![out.to_path_buf()]),
            (Some("safetensors"), _) => MatrixPaths::Safetensors(out.to_path_buf()),
            _ => bail!("--out {}: name a .npy or a .safetensors file; the extension is the format", out.display()),
        };
        let list = out.with_extension("csv");
        let of_features = match &matrices {
            MatrixPaths::Numpy(paths) => paths.as_slice(),
            MatrixPaths::Safetensors(path) => slice::from_ref(path),
        };
        of_features.iter().chain([&list]).try_for_each(|path| check_replaceable(path, overwrites))?;
        Ok(Self { matrices, list })
    }
}

/// The features of images, `F32 [images, features]` for each width, on their way to disk.
pub struct FeatureFiles {
    matrices: Matrices,
    list: List,
}

/// The formats of features.
enum Matrices {
    /// A file for each width.
    Numpy(Vec<NumpyFile>),
    /// One file for all widths, and for the labels.
    Safetensors(SafetensorsFile),
}

impl FeatureFiles {
    /// Creates the files, under temporary names, for the features of all images of `dataset`.
    ///
    /// # Errors
    /// If they cannot be written, or the disk has too little room.
    pub fn create(paths: FeaturePaths, columns: &Columns, dataset: &Dataset) -> Result<Self> {
        let FeaturePaths { matrices: paths, list } = paths;
        let widths: Vec<(String, usize)> = match columns {
            Columns::One(features) => vec![("features".into(), *features)],
            Columns::All(widths) => widths.iter().map(|(width, features)| (format!("w{width}"), *features)).collect(),
        };
        let images = [Split::Train, Split::Test].iter().map(|split| dataset.len(*split)).sum();
        make_room(&list, images * widths.iter().map(|(_, features)| features).sum::<usize>())?;
        let matrices = match paths {
            MatrixPaths::Numpy(paths) => {
                let files = paths.into_iter().zip(&widths);
                let files = files.map(|(path, (_, features))| NumpyFile::create(path, *features));
                Matrices::Numpy(files.collect::<Result<_>>()?)
            }
            MatrixPaths::Safetensors(path) => {
                let has_labels = dataset.summary().has_labels();
                Matrices::Safetensors(SafetensorsFile::create(path, &widths, images, has_labels)?)
            }
        };
        Ok(Self { matrices, list: List::create(list)? })
    }

    /// Appends the features of some images of a split.
    ///
    /// # Errors
    /// If the device fails, or the disk is full.
    pub async fn append(&mut self, dataset: &Dataset, split: Split, chunk: FeatureChunk) -> Result<()> {
        for (width, values) in chunk.values.into_iter().enumerate() {
            let values = host_values(values).await?;
            match &mut self.matrices {
                Matrices::Numpy(files) => files[width].append(values.as_bytes())?,
                Matrices::Safetensors(file) => file.append(width, values.as_bytes())?,
            }
        }
        if let Matrices::Safetensors(file) = &mut self.matrices {
            file.append_labels(&chunk.labels)?;
        }
        chunk.indices.iter().try_for_each(|index| self.list.append(dataset, split, *index))
    }

    /// Completes the files and gives them their names, the list last. Returns the lines that describe them.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn finish(self) -> Result<Vec<String>> {
        let mut lines = match self.matrices {
            Matrices::Numpy(files) => files.into_iter().map(NumpyFile::finish).collect::<Result<Vec<_>>>()?,
            Matrices::Safetensors(file) => vec![file.finish()?],
        };
        lines.push(self.list.finish()?);
        Ok(lines)
    }
}

/// Creates the folder of `path`, removes from it what killed processes have left, and checks that its disk has room for
/// this number of values.
///
/// # Errors
/// If it cannot be written, or has too little room.
fn make_room(path: &Path, values: usize) -> Result<()> {
    let folder = folder_of(path);
    create_folder(folder)?;
    sweep(folder);
    let bytes = 4 * values as u64;
    if let Some(free) = free_bytes(folder).filter(|free| *free < bytes) {
        let [bytes, free] = [bytes, free].map(count);
        bail!("the features take {bytes}B, but {} has only {free}B free: choose another disk", folder.display());
    }
    Ok(())
}

/// A file under a temporary name.
struct Unfinished {
    file: File,
    temporary: TempPath,
    path: PathBuf,
}

impl Unfinished {
    fn create(path: PathBuf) -> Result<Self> {
        let file = temporary_file(folder_of(&path)).with_context(|| cannot_write(&path))?;
        let (file, temporary) = file.into_parts();
        Ok(Self { file, temporary, path })
    }
}

/// Syncs a file and gives it its name. Returns the name and the size of the file.
fn publish(file: &File, temporary: TempPath, path: &Path) -> Result<String> {
    let publish = || {
        file.sync_all()?;
        temporary.persist(path)?;
        file.metadata()
    };
    let bytes = publish().with_context(|| cannot_write(path))?.len();
    Ok(format!("{}  {}B", path.display(), count(bytes)))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// A file of one array in NumPy's format (version 1.0), whose rows are appended.
struct NumpyFile {
    file: BufWriter<File>,
    temporary: TempPath,
    path: PathBuf,
    rows: usize,
    columns: usize,
}

impl NumpyFile {
    fn create(path: PathBuf, columns: usize) -> Result<Self> {
        let Unfinished { mut file, temporary, path } = Unfinished::create(path)?;
        file.write_all(&numpy_header([0, columns])).with_context(|| cannot_write(&path))?;
        Ok(Self { file: BufWriter::new(file), temporary, path, rows: 0, columns })
    }

    fn append(&mut self, rows: &[u8]) -> Result<()> {
        self.rows += rows.len() / (4 * self.columns);
        self.file.write_all(rows).with_context(|| cannot_write(&self.path))
    }

    fn finish(self) -> Result<String> {
        let Self { file, temporary, path, rows, columns } = self;
        let complete = || {
            let mut file = file.into_inner()?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&numpy_header([rows, columns]))?;
            io::Result::Ok(file)
        };
        let file = complete().with_context(|| cannot_write(&path))?;
        Ok(format!("{}  {rows} x {columns}", publish(&file, temporary, &path)?))
    }
}

/// Returns the header of an array of little-endian floats with this shape.
fn numpy_header([rows, columns]: [usize; 2]) -> [u8; NUMPY_HEADER] {
    let mut header = [b' '; NUMPY_HEADER];
    let length = (NUMPY_HEADER - 10) as u16;
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&length.to_le_bytes());
    let description = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    header[10..10 + description.len()].copy_from_slice(description.as_bytes());
    header[NUMPY_HEADER - 1] = b'\n';
    header
}

/// A safetensors file of the features at each width, and of the labels if there are any.
struct SafetensorsFile {
    file: GrowingFile,
    temporary: TempPath,
    path: PathBuf,
    /// Names of the widths' tensors.
    names: Vec<String>,
    has_labels: bool,
}

impl SafetensorsFile {
    fn create(path: PathBuf, widths: &[(String, usize)], images: usize, has_labels: bool) -> Result<Self> {
        let Unfinished { file, temporary, path } = Unfinished::create(path)?;
        let of_width =
            |(name, features): &(String, usize)| GrowingTensor::new(name.clone(), Dtype::F32, &[*features], images);
        let mut tensors: Vec<GrowingTensor> = widths.iter().map(of_width).collect();
        if has_labels {
            tensors.push(GrowingTensor::new(LABELS.into(), Dtype::U32, &[], images));
        }
        let file = GrowingFile::new(file, tensors).with_context(|| cannot_write(&path))?;
        let names = widths.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { file, temporary, path, names, has_labels })
    }

    fn append(&mut self, width: usize, rows: &[u8]) -> Result<()> {
        self.file.append(&self.names[width], rows).with_context(|| cannot_write(&self.path))
    }

    fn append_labels(&mut self, labels: &[u32]) -> Result<()> {
        if !self.has_labels {
            return Ok(());
        }
        let bytes = TensorData::from(labels);
        self.file.append(LABELS, bytes.as_bytes()).with_context(|| cannot_write(&self.path))
    }

    fn finish(self) -> Result<String> {
        let file = self.file.finish(&Sha256::new()).with_context(|| cannot_write(&self.path))?;
        publish(&file, self.temporary, &self.path)
    }
}

/// The list of the images, a line for each row of the features.
struct List {
    file: BufWriter<File>,
    temporary: TempPath,
    path: PathBuf,
}

impl List {
    fn create(path: PathBuf) -> Result<Self> {
        let Unfinished { file, temporary, path } = Unfinished::create(path)?;
        let mut list = Self { file: BufWriter::new(file), temporary, path };
        list.write("split,index,path,label,class\n")?;
        Ok(list)
    }

    fn append(&mut self, dataset: &Dataset, split: Split, index: usize) -> Result<()> {
        let name = match split {
            Split::Train => "train",
            Split::Test => "test",
        };
        let path = dataset.relative_path(split, index);
        let path = path.to_string_lossy();
        let label = dataset.label(split, index);
        let class = dataset.summary().classes.get(label as usize);
        let label = class.map(|_| label.to_string()).unwrap_or_default();
        let class = quoted(class.map_or("", String::as_str));
        self.write(&format!("{name},{index},{},{label},{class}\n", quoted(&path)))
    }

    fn write(&mut self, line: &str) -> Result<()> {
        self.file.write_all(line.as_bytes()).with_context(|| cannot_write(&self.path))
    }

    fn finish(self) -> Result<String> {
        let file = self.file.into_inner().map_err(io::Error::from).with_context(|| cannot_write(&self.path))?;
        publish(&file, self.temporary, &self.path)
    }
}

/// Quotes a field of a CSV file where it must be (RFC 4180).
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_any_shape_has_one_length() {
        for shape in [[0, 1], [12, 64], [usize::MAX, usize::MAX]] {
            let header = numpy_header(shape);
            let text = std::str::from_utf8(&header[10..]).unwrap();
            assert!(text.trim_end().ends_with(&format!("'shape': ({}, {}), }}", shape[0], shape[1])), "{text}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn fields_are_quoted_where_commas_and_quotes_would_end_them() {
        assert_eq!(["a b.png", "a,b.png", "a\"b\n"].map(quoted), ["a b.png", "\"a,b.png\"", "\"a\"\"b\n\""]);
    }
}

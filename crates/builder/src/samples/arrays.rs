//! Inputs from NumPy files: an `.npz` with one array per input, or an `.npy` for a model with one input.
//!
//! An array is either one sample (the input's own shape) or several rows along its first dimension. Arrays stay in their file: one sample at a time is read from
//! the place where it lies. Compressed members of an `.npz` are unpacked once, into a nameless temporary file.

use super::{Batch, SampleInput, pack};
use crate::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) struct Arrays {
    path: PathBuf,
    /// One per input, in the order of the inputs.
    arrays: Vec<Array>,
    rows: usize,
    batch: usize,
}

struct Array {
    input: String,
    shape: Vec<u64>,
    kind: Kind,
    file: Arc<File>,
    /// Where its first element lies, in bytes.
    offset: u64,
}

/// Element types that can be read, all little-endian.
#[derive(Clone, Copy, Debug)]
enum Kind {
    F4,
    F8,
    U1,
    I1,
    I4,
    I8,
    B1,
}

impl Kind {
    fn parse(descriptor: &str) -> Option<Kind> {
        Some(match descriptor.trim_matches('\'').trim_start_matches(['<', '|', '=']) {
            "f4" => Kind::F4,
            "f8" => Kind::F8,
            "u1" => Kind::U1,
            "i1" => Kind::I1,
            "i4" => Kind::I4,
            "i8" => Kind::I8,
            "b1" => Kind::B1,
            _ => return None,
        })
    }

    fn bytes(self) -> u64 {
        match self {
            Kind::U1 | Kind::I1 | Kind::B1 => 1,
            Kind::F4 | Kind::I4 => 4,
            Kind::F8 | Kind::I8 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let (fours, eights) = (bytes.as_chunks::<4>().0.iter(), bytes.as_chunks::<8>().0.iter());
        match self {
            Kind::F4 => fours.map(|four| f32::from_le_bytes(*four)).collect(),
            Kind::I4 => fours.map(|four| i32::from_le_bytes(*four) as f32).collect(),
            Kind::F8 => eights.map(|eight| f64::from_le_bytes(*eight) as f32).collect(),
            Kind::I8 => eights.map(|eight| i64::from_le_bytes(*eight) as f32).collect(),
            Kind::U1 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
            Kind::I1 => bytes.iter().map(|&byte| f32::from(byte as i8)).collect(),
            Kind::B1 => bytes.iter().map(|&byte| f32::from(u8::from(byte != 0))).collect(),
        }
    }
}

pub(super) fn is_array_file(path: &Path) -> bool {
    matches!(path.extension().and_then(|extension| extension.to_str()), Some("npz" | "npy"))
}

impl Arrays {
    pub(super) fn open(path: &Path, inputs: &[SampleInput]) -> Result<Arrays> {
        let arrays = if path.extension().is_some_and(|extension| extension == "npz") {
            open_npz(path, inputs)?
        } else {
            vec![open_single(path, inputs)?]
        };
        let batch = common_batch(inputs);
        let mut rows = usize::MAX;
        for (array, input) in arrays.iter().zip(inputs) {
            rows = rows.min(rows_in(array, input, batch).ok_or_else(|| misfit(path, array, input))?);
        }
        Ok(Arrays { path: path.to_owned(), arrays, rows, batch })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Rows of which [`Arrays::batch`] make one sample.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The batch that begins at row `first`, with at most `rows` rows; the last one is repeated where they run out.
    pub(super) fn batch_at(&self, inputs: &[SampleInput], first: usize, rows: usize) -> Result<Batch> {
        let rows = rows.min(self.batch);
        let tensors = self.arrays.iter().zip(inputs).map(|(array, input)| {
            let row = input.shape.iter().product::<u64>() / self.batch as u64;
            let mut values = array.read(first as u64 * row, rows as u64 * row).map_err(unreadable(&self.path))?;
            let last = values.len() - row as usize;
            for _ in rows..self.batch {
                values.extend_from_within(last..last + row as usize);
            }
            Ok((input.name.clone(), pack(input, values)?))
        });
        Ok(Batch { inputs: tensors.collect::<Result<_>>()?, rows, unreadable: vec![] })
    }
}

impl Array {
    /// `count` elements from element `first` on.
    fn read(&self, first: u64, count: u64) -> std::io::Result<Vec<f32>> {
        let mut bytes = vec![0; (count * self.kind.bytes()) as usize];
        self.file.read_exact_at(&mut bytes, self.offset + first * self.kind.bytes())?;
        Ok(self.kind.decode(&bytes))
    }
}

/// First dimension of every input where they agree in it; 1 where they do not, and a sample then is one of each whole input.
fn common_batch(inputs: &[SampleInput]) -> usize {
    let mut firsts = inputs.iter().map(|input| input.shape.first().copied());
    match firsts.next().flatten() {
        Some(batch) if batch > 0 && firsts.all(|first| first == Some(batch)) => batch as usize,
        _ => 1,
    }
}

/// How many rows an array holds for an input, or `None` where the shapes do not fit.
fn rows_in(array: &Array, input: &SampleInput, batch: usize) -> Option<usize> {
    if array.shape == input.shape {
        return Some(batch);
    }
    let (&rows, rest) = array.shape.split_first()?;
    let (&first, wanted) = input.shape.split_first()?;
    let rows = (rest == wanted && first > 0).then(|| rows * batch as u64 / first)?;
    usize::try_from(rows).ok().filter(|&rows| rows > 0)
}

fn missing(path: &Path, input: &SampleInput) -> Error {
    Error::Samples(format!("{} has no array named `{}`", path.display(), input.name))
}

fn misfit(path: &Path, array: &Array, input: &SampleInput) -> Error {
    Error::Samples(format!(
        "{}: array `{}` has shape {:?}, the input wants {:?} or several of it along the first dimension",
        path.display(),
        array.input,
        array.shape,
        input.shape
    ))
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |source| Error::Samples(format!("{} is no readable NumPy file: {source}", path.display()))
}

fn open_npz(path: &Path, inputs: &[SampleInput]) -> Result<Vec<Array>> {
    let file = Arc::new(File::open(path).map_err(|source| Error::io(path, source))?);
    let reader = std::io::BufReader::new(&*file);
    let mut archive = zip::ZipArchive::new(reader).map_err(|error| unreadable(path)(error.into()))?;
    let open = |input: &SampleInput| match archive.by_name(&format!("{}.npy", input.name)) {
        Ok(member) => open_member(&input.name, member, &file).map_err(unreadable(path)),
        Err(zip::result::ZipError::FileNotFound) => Err(missing(path, input)),
        Err(error) => Err(unreadable(path)(error.into())),
    };
    inputs.iter().map(open).collect()
}

/// An array inside an archive: in its place where it is stored as it is, else unpacked.
fn open_member(
    name: &str,
    mut member: zip::read::ZipFile<'_, std::io::BufReader<&File>>,
    archive: &Arc<File>,
) -> std::io::Result<Array> {
    let stored = member.compression() == zip::CompressionMethod::Stored && !member.encrypted();
    if let (true, Some(start)) = (stored, member.data_start()) {
        return open_array(name, archive, start, member.size());
    }
    let mut unpacked = tempfile::tempfile()?;
    let bytes = std::io::copy(&mut member, &mut unpacked)?;
    open_array(name, &Arc::new(unpacked), 0, bytes)
}

fn open_single(path: &Path, inputs: &[SampleInput]) -> Result<Array> {
    let [input] = inputs else {
        return Err(Error::Samples(format!(
            "{} holds one array and the model has {} inputs; give an .npz",
            path.display(),
            inputs.len()
        )));
    };
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let bytes = file.metadata().map_err(|source| Error::io(path, source))?.len();
    open_array(&input.name, &Arc::new(file), 0, bytes).map_err(unreadable(path))
}

/// No header of an array of numbers is longer.
const MOST_HEADER_BYTES: u64 = 1 << 16;

/// The array whose file lies at `start` of `file` and is `bytes` long.
fn open_array(name: &str, file: &Arc<File>, start: u64, bytes: u64) -> std::io::Result<Array> {
    let refused = |reason: String| Err(std::io::Error::other(reason));
    let mut head = vec![0; bytes.min(MOST_HEADER_BYTES) as usize];
    file.read_exact_at(&mut head, start)?;
    let mut rest = head.as_slice();
    let header = npyz::NpyHeader::from_reader(&mut rest)?;
    let header_bytes = (head.len() - rest.len()) as u64;
    if header.order() != npyz::Order::C {
        return refused("it is in Fortran order".into());
    }
    let descriptor = header.dtype().descr();
    let Some(kind) = Kind::parse(&descriptor) else {
        return refused(format!("element type {descriptor} is not supported"));
    };
    let shape = header.shape().to_vec();
    let needed = shape.iter().try_fold(kind.bytes(), |bytes, &size| bytes.checked_mul(size));
    if needed.is_none_or(|needed| needed > bytes - header_bytes) {
        return refused("it ends before its array does".into());
    }
    Ok(Array { input: name.to_owned(), shape, kind, file: Arc::clone(file), offset: start + header_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;
    use std::io::Write;
    use trtforge_graph::ElementType;

    fn npy(shape: &[u64], values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn input(name: &str, shape: &[u64]) -> SampleInput {
        SampleInput { name: name.into(), element: ElementType::Float32, shape: shape.to_vec() }
    }

    fn values(batch: &Batch, index: usize) -> Vec<f32> {
        batch.inputs[index].1.to_vec_f32().unwrap()
    }

    fn npz(folder: &Path, method: zip::CompressionMethod, members: &[(&str, Vec<u8>)]) -> PathBuf {
        let path = folder.join(format!("{method:?}.npz"));
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in members {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            archive.start_file(format!("{name}.npy"), options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
        path
    }

    #[test]
    fn rows_are_read_from_where_they_lie_and_the_last_batch_is_filled_up() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [input("a", &[2, 3]), input("b", &[2])];
        let members =
            [("b", npy(&[5], (0..5).map(|x| x as f32 * 10.0))), ("a", npy(&[5, 3], (0..15).map(|x| x as f32)))];
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let arrays = Arrays::open(&npz(folder.path(), method, &members), &inputs).unwrap();
            assert_eq!((arrays.rows(), arrays.batch()), (5, 2));
            let second = arrays.batch_at(&inputs, 2, 3).unwrap();
            assert_eq!((values(&second, 0), values(&second, 1)), (vec![6., 7., 8., 9., 10., 11.], vec![20.0, 30.0]));
            let last = arrays.batch_at(&inputs, 4, 1).unwrap();
            assert_eq!((last.rows, values(&last, 0)), (1, vec![12., 13., 14., 12., 13., 14.]));
        }
    }

    #[test]
    fn inputs_without_a_common_batch_are_taken_whole() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [input("a", &[2, 3]), input("b", &[1])];
        let members = [("b", npy(&[2], [1.0, 2.0])), ("a", npy(&[4, 3], (0..12).map(|x| x as f32)))];
        let arrays = Arrays::open(&npz(folder.path(), zip::CompressionMethod::Stored, &members), &inputs).unwrap();
        assert_eq!((arrays.rows(), arrays.batch()), (2, 1));
        let second = arrays.batch_at(&inputs, 1, 1).unwrap();
        assert_eq!((values(&second, 0), values(&second, 1)), (vec![6., 7., 8., 9., 10., 11.], vec![2.0]));
    }

    #[test]
    fn files_that_are_cut_short_or_of_another_shape_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let whole = npy(&[2, 3], (0..6).map(|x| x as f32));
        for length in [0, 5, 60, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(Arrays::open(&path, &[input("a", &[1, 3])]), Err(Error::Samples(_))), "{length}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(Arrays::open(&path, &[input("a", &[1, 4])]).is_err());
        assert_eq!(Arrays::open(&path, &[input("a", &[1, 3])]).unwrap().rows(), 2);
    }
}

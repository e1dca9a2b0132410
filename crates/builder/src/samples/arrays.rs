//! Inputs from NumPy files: an `.npz` with one array per input, an `.npy` for a model with one input, or a file of its own for each.
//!
//! Elements of the type that the input wants are passed on as they are; others are converted. An array is either one sample (the input's own shape) or several rows along its first dimension. Arrays stay in their file: one sample at a time is read from
//! the place where it lies. Compressed members of an `.npz` are unpacked once, into a nameless temporary file.

use super::{Batch, SampleInput, pack_wide};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trtforge_graph::{ElementType, Tensor};

pub(super) struct Arrays {
    /// One per input, in the order of the inputs.
    arrays: Vec<Array>,
    rows: usize,
    batch: usize,
}

/// An array in a file; its elements are not read yet.
pub(super) struct Array {
    path: PathBuf,
    pub(super) shape: Vec<u64>,
    kind: Kind,
    file: Arc<File>,
    /// Where its first element lies, in bytes.
    offset: u64,
}

/// Element types that can be read, all little-endian.
#[derive(Clone, Copy, Debug)]
enum Kind {
    F2,
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
            "f2" => Kind::F2,
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

    fn element(self) -> ElementType {
        match self {
            Kind::F2 => ElementType::Float16,
            Kind::F4 => ElementType::Float32,
            Kind::F8 => ElementType::Float64,
            Kind::U1 => ElementType::UInt8,
            Kind::I1 => ElementType::Int8,
            Kind::I4 => ElementType::Int32,
            Kind::I8 => ElementType::Int64,
            Kind::B1 => ElementType::Bool,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Kind::U1 | Kind::I1 | Kind::B1 => 1,
            Kind::F2 => 2,
            Kind::F4 | Kind::I4 => 4,
            Kind::F8 | Kind::I8 => 8,
        }
    }

    /// The elements as numbers wide enough for all types but large 64-bit integers.
    fn decode(self, bytes: &[u8]) -> Vec<f64> {
        let (twos, fours) = (bytes.as_chunks::<2>().0.iter(), bytes.as_chunks::<4>().0.iter());
        let eights = bytes.as_chunks::<8>().0.iter();
        match self {
            Kind::F2 => twos.map(|two| half::f16::from_le_bytes(*two).to_f64()).collect(),
            Kind::F4 => fours.map(|four| f64::from(f32::from_le_bytes(*four))).collect(),
            Kind::I4 => fours.map(|four| f64::from(i32::from_le_bytes(*four))).collect(),
            Kind::F8 => eights.map(|eight| f64::from_le_bytes(*eight)).collect(),
            Kind::I8 => eights.map(|eight| i64::from_le_bytes(*eight) as f64).collect(),
            Kind::U1 => bytes.iter().map(|&byte| f64::from(byte)).collect(),
            Kind::I1 => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
            Kind::B1 => bytes.iter().map(|&byte| f64::from(u8::from(byte != 0))).collect(),
        }
    }
}

pub(super) fn is_array_file(path: &Path) -> bool {
    matches!(path.extension().and_then(|extension| extension.to_str()), Some("npz" | "npy"))
}

/// The array of each named input, from one file for all of them.
pub(super) fn find(path: &Path, inputs: &[&str]) -> Result<Vec<Array>> {
    match (is_archive(path), inputs) {
        (true, _) => open_npz(path, inputs),
        (false, [_]) => Ok(vec![open_npy(path)?]),
        (false, _) => Err(Error::Samples(format!(
            "{} holds one array and the model has {} inputs; give an .npz",
            path.display(),
            inputs.len()
        ))),
    }
}

/// The array of each named input, each from the file given for it. An archive may call its only array as it likes.
pub(super) fn find_each(files: &BTreeMap<String, PathBuf>, inputs: &[&str]) -> Result<Vec<Array>> {
    if let Some(stranger) = files.keys().find(|name| !inputs.contains(&name.as_str())) {
        return Err(Error::Usage(format!("the model has no input `{stranger}`; it has `{}`", inputs.join("`, `"))));
    }
    let file_of = |input: &&str| match files.get(*input) {
        Some(path) if is_archive(path) => open_member_for(path, input),
        Some(path) => open_npy(path),
        None => Err(Error::Usage(format!("input `{input}` is given no array"))),
    };
    inputs.iter().map(file_of).collect()
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npz")
}

impl Arrays {
    pub(super) fn new(arrays: Vec<Array>, inputs: &[SampleInput]) -> Result<Arrays> {
        let batch = common_batch(inputs);
        let mut rows = usize::MAX;
        for (array, input) in arrays.iter().zip(inputs) {
            rows = rows.min(rows_in(array, input, batch).ok_or_else(|| misfit(array, input))?);
        }
        Ok(Arrays { arrays, rows, batch })
    }

    /// The files, each once.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.arrays.iter().map(|array| array.path.clone()).collect();
        paths.dedup();
        paths
    }

    /// Inputs whose elements are converted, each with the types from which and to which.
    pub(super) fn conversions(&self, inputs: &[SampleInput]) -> Vec<(String, ElementType, ElementType)> {
        let pairs = self.arrays.iter().zip(inputs);
        let differing = pairs.filter(|(array, input)| array.kind.element() != input.element);
        differing.map(|(array, input)| (input.name.clone(), array.kind.element(), input.element)).collect()
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
            let row = input.shape.iter().product::<u64>() / self.batch as u64 * array.kind.bytes();
            let mut bytes = array.read(first as u64 * row, rows as u64 * row).map_err(unreadable(&array.path))?;
            let last = bytes.len() - row as usize;
            for _ in rows..self.batch {
                bytes.extend_from_within(last..last + row as usize);
            }
            Ok((input.name.clone(), array.tensor(input, bytes)?))
        });
        Ok(Batch { inputs: tensors.collect::<Result<_>>()?, rows, unreadable: vec![] })
    }
}

impl Array {
    /// `count` bytes from byte `first` of the elements on.
    fn read(&self, first: u64, count: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        self.file.read_exact_at(&mut bytes, self.offset + first)?;
        Ok(bytes)
    }

    fn tensor(&self, input: &SampleInput, bytes: Vec<u8>) -> Result<Tensor> {
        if self.kind.element() != input.element || input.element == ElementType::Bool {
            return pack_wide(input, self.kind.decode(&bytes).into_iter());
        }
        Tensor::new(input.element, input.shape.clone(), bytes.into())
            .map_err(|error| Error::Samples(format!("input `{}`: {error}", input.name)))
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

fn missing(path: &Path, input: &str) -> Error {
    Error::Samples(format!("{} has no array named `{input}`", path.display()))
}

fn misfit(array: &Array, input: &SampleInput) -> Error {
    Error::Samples(format!(
        "{}: the array for `{}` has shape {:?}, the input wants {:?} or several of it along the first dimension",
        array.path.display(),
        input.name,
        array.shape,
        input.shape
    ))
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |source| Error::Samples(format!("{} is no readable NumPy file: {source}", path.display()))
}

type Archive<'f> = zip::ZipArchive<std::io::BufReader<&'f File>>;

fn open_archive<'f>(path: &Path, file: &'f File) -> Result<Archive<'f>> {
    zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| unreadable(path)(error.into()))
}

fn open_npz(path: &Path, inputs: &[&str]) -> Result<Vec<Array>> {
    let file = Arc::new(File::open(path).map_err(|source| Error::io(path, source))?);
    let mut archive = open_archive(path, &file)?;
    let open = |input: &&str| match archive.by_name(&format!("{input}.npy")) {
        Ok(member) => open_member(path, member, &file).map_err(unreadable(path)),
        Err(zip::result::ZipError::FileNotFound) => Err(missing(path, input)),
        Err(error) => Err(unreadable(path)(error.into())),
    };
    inputs.iter().map(open).collect()
}

/// The archive's array of that name, or its only one.
fn open_member_for(path: &Path, input: &str) -> Result<Array> {
    let file = Arc::new(File::open(path).map_err(|source| Error::io(path, source))?);
    let mut archive = open_archive(path, &file)?;
    let named = archive.index_for_name(&format!("{input}.npy"));
    let index = named.or((archive.len() == 1).then_some(0)).ok_or_else(|| missing(path, input))?;
    let member = archive.by_index(index).map_err(|error| unreadable(path)(error.into()))?;
    open_member(path, member, &file).map_err(unreadable(path))
}

/// An array inside an archive: in its place where it is stored as it is, else unpacked.
fn open_member(
    path: &Path,
    mut member: zip::read::ZipFile<'_, std::io::BufReader<&File>>,
    archive: &Arc<File>,
) -> std::io::Result<Array> {
    let stored = member.compression() == zip::CompressionMethod::Stored && !member.encrypted();
    if let (true, Some(start)) = (stored, member.data_start()) {
        return open_array(path, archive, start, member.size());
    }
    let mut unpacked = tempfile::tempfile()?;
    let bytes = std::io::copy(&mut member, &mut unpacked)?;
    open_array(path, &Arc::new(unpacked), 0, bytes)
}

fn open_npy(path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let bytes = file.metadata().map_err(|source| Error::io(path, source))?.len();
    open_array(path, &Arc::new(file), 0, bytes).map_err(unreadable(path))
}

/// No header of an array of numbers is longer.
const MOST_HEADER_BYTES: u64 = 1 << 16;

/// Brackets in brackets in the header of a plain array. The parser's time doubles with each, so it must not see many more.
const MOST_DEPTH: usize = 4;

/// The dictionary that tells type and shape, in any version of the format.
fn header_text(head: &[u8]) -> &[u8] {
    let [0x93, b'N', b'U', b'M', b'P', b'Y', version, _, rest @ ..] = head else { return &[] };
    let Some((length, text)) = rest.split_at_checked(if *version == 1 { 2 } else { 4 }) else { return &[] };
    let length = length.iter().rev().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    &text[..length.min(text.len())]
}

fn depth(text: &[u8]) -> usize {
    let mut open = 0usize;
    let deepest = text.iter().map(|byte| {
        match byte {
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        open
    });
    deepest.max().unwrap_or(0)
}

/// The array whose file lies at `start` of `file` and is `bytes` long.
fn open_array(path: &Path, file: &Arc<File>, start: u64, bytes: u64) -> std::io::Result<Array> {
    let refused = |reason: String| Err(std::io::Error::other(reason));
    let mut head = vec![0; bytes.min(MOST_HEADER_BYTES) as usize];
    file.read_exact_at(&mut head, start)?;
    if depth(header_text(&head)) > MOST_DEPTH {
        return refused("its header is not that of a plain array".into());
    }
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
    Ok(Array { path: path.to_owned(), shape, kind, file: Arc::clone(file), offset: start + header_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;
    use std::io::Write;

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

    fn open(path: &Path, inputs: &[SampleInput]) -> Result<Arrays> {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        Arrays::new(find(path, &names)?, inputs)
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
            let arrays = open(&npz(folder.path(), method, &members), &inputs).unwrap();
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
        let arrays = open(&npz(folder.path(), zip::CompressionMethod::Stored, &members), &inputs).unwrap();
        assert_eq!((arrays.rows(), arrays.batch()), (2, 1));
        let second = arrays.batch_at(&inputs, 1, 1).unwrap();
        assert_eq!((values(&second, 0), values(&second, 1)), (vec![6., 7., 8., 9., 10., 11.], vec![2.0]));
    }

    #[test]
    fn elements_of_the_right_type_are_passed_on_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.npy");
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(&[2]);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        let large = [i64::MAX - 1, -((1 << 53) + 1)];
        writer.extend(large).unwrap();
        writer.finish().unwrap();
        std::fs::write(&path, bytes).unwrap();
        let input = |element| SampleInput { name: "ids".into(), element, shape: vec![2] };
        let same = [input(ElementType::Int64)];
        let arrays = open(&path, &same).unwrap();
        assert_eq!(arrays.batch_at(&same, 0, 2).unwrap().inputs[0].1.as_slice::<i64>().unwrap(), large);
        assert_eq!(arrays.conversions(&same), []);
        let other = [input(ElementType::Int32)];
        let converted = open(&path, &other).unwrap().conversions(&other);
        assert_eq!(converted, [("ids".to_owned(), ElementType::Int64, ElementType::Int32)]);
    }

    #[test]
    fn each_input_may_have_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let npy_file = folder.path().join("any.npy");
        std::fs::write(&npy_file, npy(&[1, 2], [1.0, 2.0])).unwrap();
        let archive = npz(folder.path(), zip::CompressionMethod::Deflated, &[("whatever", npy(&[1, 1], [3.0]))]);
        let files = BTreeMap::from([("b".to_owned(), archive), ("a".to_owned(), npy_file.clone())]);
        let inputs = [input("a", &[1, 2]), input("b", &[1, 1])];
        let arrays = Arrays::new(find_each(&files, &["a", "b"]).unwrap(), &inputs).unwrap();
        let batch = arrays.batch_at(&inputs, 0, 1).unwrap();
        assert_eq!((values(&batch, 0), values(&batch, 1)), (vec![1.0, 2.0], vec![3.0]));
        assert!(matches!(find_each(&files, &["a"]), Err(Error::Usage(_))), "a file for an input that is not there");
        assert!(matches!(find_each(&files, &["a", "b", "c"]), Err(Error::Usage(_))), "an input without a file");
    }

    #[test]
    fn a_header_that_would_be_parsed_for_years_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep.npy");
        for version in [1u8, 2] {
            let text = format!("{{'descr': '<f4', 'fortran_order': False, {}'shape': (2,), }}", "{".repeat(200));
            let length = (text.len() as u32).to_le_bytes();
            let length = if version == 1 { &length[..2] } else { &length[..] };
            let file = [b"\x93NUMPY", &[version, 0][..], length, text.as_bytes(), &[0; 8]].concat();
            std::fs::write(&path, file).unwrap();
            let Err(error) = open(&path, &[input("a", &[2])]) else { panic!("it is no array") };
            assert!(error.to_string().contains("plain array"), "{error}");
        }
    }

    #[test]
    fn files_that_are_cut_short_or_of_another_shape_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let whole = npy(&[2, 3], (0..6).map(|x| x as f32));
        for length in [0, 5, 60, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(open(&path, &[input("a", &[1, 3])]), Err(Error::Samples(_))), "{length}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(open(&path, &[input("a", &[1, 4])]).is_err());
        assert_eq!(open(&path, &[input("a", &[1, 3])]).unwrap().rows(), 2);
    }
}

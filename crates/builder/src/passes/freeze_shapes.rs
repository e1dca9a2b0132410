//! Settles the shape of every model input: resolves what was asked against the model, and writes dimensions that have one value only into the graph.
//!
//! Pattern: an open dimension of a model input. Result: a fixed dimension where the request leaves one value; every other use of the same symbol follows.
//! Dimensions with a range stay open for the optimisation profile. Numerical effect: none.

use crate::shapes::{Shape, ShapeRange, ShapeRequest};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use trtforge_graph::proto::{GraphProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto};
use trtforge_graph::{Dimension, Model, TensorType, ValueType};

/// The shape range of every model input, and what was assumed to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedShapes {
    /// Ranges by input name; every tensor input of the model has one.
    pub ranges: BTreeMap<String, ShapeRange>,
    /// Assumptions worth telling the user.
    pub notes: Vec<String>,
}

impl ResolvedShapes {
    /// Whether any dimension keeps a range.
    pub fn is_dynamic(&self) -> bool {
        self.ranges.values().any(|range| !range.is_fixed())
    }

    /// Every input at its largest shape.
    pub fn largest(&self) -> Self {
        let largest = |(input, range): (&String, &ShapeRange)| (input.clone(), ShapeRange::fixed(range.max.clone()));
        Self { ranges: self.ranges.iter().map(largest).collect(), notes: Vec::new() }
    }
}

struct Input {
    name: String,
    ty: TensorType,
}

/// Finds a range for every input of `model`: from `request`, from `batch` for open first dimensions (also those of `request`), from the model's own fixed dimensions.
/// An open first dimension that nobody named becomes 1, with a note.
///
/// # Errors
/// [`Error::Shape`] for a request that names no input, has another rank, contradicts a fixed dimension or `min <= opt <= max`, or for a dimension left open;
/// [`Error::Usage`] for a batch that the model's fixed first dimensions contradict.
pub fn resolve_shapes(model: &Model, request: &ShapeRequest, batch: Option<u64>) -> Result<ResolvedShapes> {
    let inputs = tensor_inputs(model);
    let described: Vec<String> = inputs.iter().map(|input| format!("{} {}", input.name, input.ty)).collect();
    let error =
        |input: &str, reason: String| Error::Shape { input: input.to_owned(), reason, inputs: described.clone() };
    let mut requested = request.ranges();
    for (name, range) in &mut requested {
        let input = inputs
            .iter()
            .find(|input| input.name == *name)
            .ok_or_else(|| error(name, "the model has no such input".into()))?;
        if let Some(batch) = batch {
            set_batch(input, range, batch);
        }
        check_request(input, range).map_err(|reason| error(name, reason))?;
    }
    let symbols = requested_symbols(&inputs, &requested).map_err(|(input, reason)| error(&input, reason))?;
    let mut resolved = ResolvedShapes::default();
    for input in &inputs {
        let range = match requested.get(&input.name) {
            Some(range) => range.clone(),
            None => {
                own_range(input, batch, &symbols, &mut resolved.notes).map_err(|reason| error(&input.name, reason))?
            }
        };
        check_size(&range).map_err(|reason| error(&input.name, reason))?;
        resolved.ranges.insert(input.name.clone(), range);
    }
    if let Some(batch) = batch {
        check_batch(batch, &resolved)?;
    }
    Ok(resolved)
}

fn tensor_inputs(model: &Model) -> Vec<Input> {
    let graph = &model.proto().graph;
    let initializers: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let inputs = graph.input.iter().filter(|input| !initializers.contains(input.name()));
    inputs
        .filter_map(|input| match ValueType::from_proto(input.type_.as_ref()?)? {
            ValueType::Tensor(ty) => Some(Input { name: input.name().to_owned(), ty }),
            ValueType::Other(_) => None,
        })
        .collect()
}

/// A batch asked for replaces the first dimension of a shape asked for, where the model leaves that open.
fn set_batch(input: &Input, range: &mut ShapeRange, batch: u64) {
    let first = input.ty.shape.as_ref().and_then(|shape| shape.first());
    if matches!(first, Some(Dimension::Fixed(_))) {
        return;
    }
    for shape in [&mut range.min, &mut range.opt, &mut range.max] {
        if let Some(first) = shape.0.first_mut() {
            *first = batch;
        }
    }
}

fn check_request(input: &Input, range: &ShapeRange) -> std::result::Result<(), String> {
    if let Some(dimension) = range.contradiction() {
        return Err(format!(
            "min {} <= opt {} <= max {} does not hold in dimension {dimension}",
            range.min, range.opt, range.max
        ));
    }
    let Some(shape) = &input.ty.shape else { return Ok(()) };
    if shape.len() != range.opt.0.len() {
        return Err(format!(
            "{} has {} dimensions, the model's {} has {}",
            range.opt,
            range.opt.0.len(),
            input.ty,
            shape.len()
        ));
    }
    for (index, dimension) in shape.iter().enumerate() {
        let asked = (range.min.0[index], range.max.0[index]);
        if let Dimension::Fixed(fixed) = dimension
            && asked != (*fixed, *fixed)
        {
            return Err(format!("dimension {index} is fixed at {fixed} in the model's {}", input.ty));
        }
    }
    Ok(())
}

/// Smallest, likeliest and largest value of a dimension.
type Bounds = (u64, u64, u64);

fn bounds(range: &ShapeRange, index: usize) -> Bounds {
    (range.min.0[index], range.opt.0[index], range.max.0[index])
}

/// What the request says of each symbol; one symbol has one meaning in a whole model.
fn requested_symbols(
    inputs: &[Input],
    requested: &BTreeMap<String, ShapeRange>,
) -> std::result::Result<HashMap<String, Bounds>, (String, String)> {
    let mut symbols: HashMap<String, Bounds> = HashMap::new();
    for input in inputs {
        let (Some(range), Some(shape)) = (requested.get(&input.name), &input.ty.shape) else { continue };
        for (index, dimension) in shape.iter().enumerate() {
            let Dimension::Symbol(symbol) = dimension else { continue };
            let known = *symbols.entry(symbol.clone()).or_insert_with(|| bounds(range, index));
            if known != bounds(range, index) {
                let reason =
                    format!("dimension {index} ({symbol}) differs from what another input was given for {symbol}");
                return Err((input.name.clone(), reason));
            }
        }
    }
    Ok(symbols)
}

/// The range of an input that was not asked for: its own fixed dimensions, what its symbols were given elsewhere, the batch.
fn own_range(
    input: &Input,
    batch: Option<u64>,
    symbols: &HashMap<String, Bounds>,
    notes: &mut Vec<String>,
) -> std::result::Result<ShapeRange, String> {
    let shape = input.ty.shape.as_ref().ok_or("the model does not even say how many dimensions it has")?;
    let mut sizes = Vec::with_capacity(shape.len());
    for (index, dimension) in shape.iter().enumerate() {
        let given = if let Dimension::Symbol(symbol) = dimension { symbols.get(symbol) } else { None };
        sizes.push(match (dimension, given) {
            (_, Some(&bounds)) => bounds,
            (Dimension::Fixed(0), _) => return Err(format!("dimension {index} is 0")),
            (Dimension::Fixed(size), _) => (*size, *size, *size),
            (_, None) if index == 0 => {
                if batch.is_none() {
                    notes.push(format!(
                        "input `{}` {}: the open first dimension is taken as batch 1 (--batch N or --opt-shape to change)",
                        input.name, input.ty
                    ));
                }
                let batch = batch.unwrap_or(1);
                (batch, batch, batch)
            }
            (open, None) => {
                return Err(format!("dimension {index} ({open}) is open in the model and no shape was given"));
            }
        });
    }
    let shape = |pick: fn(&Bounds) -> u64| Shape(sizes.iter().map(pick).collect());
    Ok(ShapeRange { min: shape(|bounds| bounds.0), opt: shape(|bounds| bounds.1), max: shape(|bounds| bounds.2) })
}

/// More elements than any device holds are a slip of the pen, and would overflow sizes later on.
fn check_size(range: &ShapeRange) -> std::result::Result<(), String> {
    const MOST_ELEMENTS: u64 = 1 << 38;
    let elements = range.max.0.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
    match elements {
        Some(elements) if elements <= MOST_ELEMENTS => Ok(()),
        _ => Err(format!("{} has more elements than any device holds", range.max)),
    }
}

fn check_batch(batch: u64, resolved: &ResolvedShapes) -> Result<()> {
    let other = resolved.ranges.iter().find(|(_, range)| range.opt.0.first().is_some_and(|&first| first != batch));
    match other {
        Some((name, range)) if resolved.ranges.values().all(|range| range.opt.0.first() != Some(&batch)) => {
            Err(Error::Usage(format!(
                "--batch {batch} does not fit: the first dimension of input `{name}` is fixed at {} in the model; export it with a dynamic batch",
                range.opt.0[0]
            )))
        }
        _ => Ok(()),
    }
}

/// Writes every dimension that has one value into the inputs of `model`, and follows its symbol through outputs and recorded types.
pub fn freeze_shapes(model: &mut Model, shapes: &ResolvedShapes) {
    let graph = model.proto_mut().graph.mut_or_insert_default();
    let symbols = fixed_symbols(graph, shapes);
    for input in &mut graph.input {
        if let Some(range) = shapes.ranges.get(input.name.as_deref().unwrap_or_default()) {
            write_shape(input, range);
        }
    }
    let inputs: HashSet<String> = graph.input.iter().flat_map(symbols_of).collect();
    for value in graph.output.iter_mut().chain(&mut graph.value_info) {
        substitute(value, &symbols);
    }
    for output in &mut graph.output {
        forget_foreign_symbols(output, &inputs);
    }
}

fn fixed_symbols(graph: &GraphProto, shapes: &ResolvedShapes) -> HashMap<String, i64> {
    let mut symbols = HashMap::new();
    for input in &graph.input {
        let Some(range) = shapes.ranges.get(input.name()) else { continue };
        let Some(ValueType::Tensor(TensorType { shape: Some(shape), .. })) =
            input.type_.as_ref().and_then(ValueType::from_proto)
        else {
            continue;
        };
        for (index, dimension) in shape.iter().enumerate() {
            if let Dimension::Symbol(symbol) = dimension
                && range.min.0[index] == range.max.0[index]
            {
                symbols.insert(symbol.clone(), range.min.0[index] as i64);
            }
        }
    }
    symbols
}

fn shape_mut(value: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    match value.type_.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => Some(tensor.shape.mut_or_insert_default()),
        _ => None,
    }
}

fn write_shape(input: &mut ValueInfoProto, range: &ShapeRange) {
    let Some(shape) = shape_mut(input) else { return };
    shape.dim.resize_with(range.opt.0.len(), Default::default);
    for (index, dimension) in shape.dim.iter_mut().enumerate() {
        if range.min.0[index] == range.max.0[index] {
            dimension.value = Some(dimension::Value::DimValue(range.min.0[index] as i64));
        } else if !matches!(&dimension.value, Some(dimension::Value::DimParam(symbol)) if !symbol.is_empty()) {
            dimension.value = None;
        }
    }
}

fn symbols_of(value: &ValueInfoProto) -> Vec<String> {
    match value.type_.as_ref().and_then(ValueType::from_proto) {
        Some(ValueType::Tensor(TensorType { shape: Some(shape), .. })) => {
            let symbols =
                shape.into_iter().filter_map(|d| if let Dimension::Symbol(symbol) = d { Some(symbol) } else { None });
            symbols.collect()
        }
        _ => vec![],
    }
}

/// A model output whose recorded shape hangs on symbols that no input has says nothing; without it the shape is inferred.
fn forget_foreign_symbols(output: &mut ValueInfoProto, inputs: &HashSet<String>) {
    let foreign = symbols_of(output).iter().any(|symbol| !inputs.contains(symbol));
    if foreign
        && let Some(type_proto::Value::TensorType(tensor)) = output.type_.as_mut().and_then(|ty| ty.value.as_mut())
    {
        tensor.shape.clear();
    }
}

fn substitute(value: &mut ValueInfoProto, symbols: &HashMap<String, i64>) {
    let has_shape = matches!(value.type_.as_ref().and_then(|ty| ty.value.as_ref()), Some(type_proto::Value::TensorType(tensor)) if tensor.shape.is_some());
    if !has_shape {
        return;
    }
    let Some(shape) = shape_mut(value) else { return };
    for dimension in &mut shape.dim {
        if let Some(dimension::Value::DimParam(symbol)) = &dimension.value
            && let Some(size) = symbols.get(symbol)
        {
            dimension.value = Some(dimension::Value::DimValue(*size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trtforge_graph::ElementType;
    use trtforge_graph::construct;

    fn model(shape: Vec<Dimension>) -> Model {
        let mut graph = GraphProto::new();
        graph.input.push(construct::open_tensor_value("x", ElementType::Float32, shape.clone()));
        graph.output.push(construct::open_tensor_value("y", ElementType::Float32, shape));
        graph.node.push(construct::node("Relu", "relu", ["x"], ["y"]));
        Model::from_proto(construct::model(graph, 9, 17))
    }

    fn symbol(name: &str) -> Dimension {
        Dimension::Symbol(name.into())
    }

    fn request(min: Option<&str>, opt: Option<&str>, max: Option<&str>) -> ShapeRequest {
        let mut request = ShapeRequest::default();
        if let Some(min) = min {
            request.set_min(min.parse().unwrap());
        }
        if let Some(opt) = opt {
            request.set_opt(opt.parse().unwrap());
        }
        if let Some(max) = max {
            request.set_max(max.parse().unwrap());
        }
        request
    }

    fn reason(model: &Model, request: &ShapeRequest, batch: Option<u64>) -> String {
        resolve_shapes(model, request, batch).unwrap_err().to_string()
    }

    #[test]
    fn an_open_batch_becomes_one_with_a_note() {
        let resolved =
            resolve_shapes(&model(vec![symbol("N"), Dimension::Fixed(3)]), &ShapeRequest::default(), None).unwrap();
        assert_eq!(resolved.ranges["x"].opt.0, [1, 3]);
        assert_eq!(resolved.notes.len(), 1);
        let resolved =
            resolve_shapes(&model(vec![symbol("N"), Dimension::Fixed(3)]), &ShapeRequest::default(), Some(4)).unwrap();
        assert_eq!((resolved.ranges["x"].opt.0.as_slice(), resolved.notes.len()), ([4, 3].as_slice(), 0));
    }

    #[test]
    fn bad_requests_say_what_does_not_fit() {
        let model = model(vec![symbol("N"), Dimension::Fixed(3), symbol("W")]);
        assert!(reason(&model, &ShapeRequest::default(), None).contains("dimension 2 (W) is open"));
        assert!(reason(&model, &request(None, Some("z=1x3x8"), None), None).contains("no such input"));
        assert!(reason(&model, &request(None, Some("x=1x3"), None), None).contains("has 2 dimensions"));
        assert!(reason(&model, &request(None, Some("x=1x4x8"), None), None).contains("fixed at 3"));
        assert!(
            reason(&model, &request(Some("x=2x3x8"), Some("x=1x3x8"), None), None)
                .contains("does not hold in dimension 0")
        );
    }

    #[test]
    fn a_batch_replaces_the_first_dimension_of_what_was_asked_and_keeps_the_rest() {
        let open = model(vec![symbol("N"), Dimension::Fixed(3), symbol("W")]);
        let asked = request(Some("x=1x3x8"), Some("x=4x3x16"), Some("x=8x3x32"));
        let range = resolve_shapes(&open, &asked, Some(2)).unwrap().ranges.remove("x").unwrap();
        assert_eq!((range.min.0, range.opt.0, range.max.0), (vec![2, 3, 8], vec![2, 3, 16], vec![2, 3, 32]));
        let fixed = model(vec![Dimension::Fixed(1), symbol("W")]);
        assert!(reason(&fixed, &request(None, Some("x=1x8"), None), Some(2)).contains("is fixed at 1"));
    }

    #[test]
    fn one_symbol_has_one_meaning() {
        let mut model = model(vec![symbol("N"), Dimension::Fixed(3)]);
        let graph = model.proto_mut().graph.as_mut().unwrap();
        graph.input.push(construct::open_tensor_value(
            "s",
            ElementType::Float32,
            vec![symbol("N"), Dimension::Fixed(2)],
        ));
        let mut request = request(Some("x=1x3"), Some("x=2x3"), Some("x=4x3"));
        let resolved = resolve_shapes(&model, &request, None).unwrap();
        assert_eq!((resolved.ranges["s"].min.0[0], resolved.ranges["s"].max.0[0]), (1, 4));
        request.set_opt("s=3x2".parse().unwrap());
        assert!(reason(&model, &request, None).contains("differs from what another input"));
    }

    #[test]
    fn shapes_beyond_any_device_are_refused() {
        let model = model(vec![symbol("N"), symbol("H"), symbol("W")]);
        let huge = request(None, Some("x=2147483647x2147483647x2147483647"), None);
        assert!(reason(&model, &huge, None).contains("more elements"));
    }

    #[test]
    fn a_fixed_batch_cannot_be_changed() {
        let model = model(vec![Dimension::Fixed(1), Dimension::Fixed(3)]);
        assert!(reason(&model, &ShapeRequest::default(), Some(4)).contains("--batch 4 does not fit"));
        assert!(resolve_shapes(&model, &ShapeRequest::default(), Some(1)).is_ok());
    }

    #[test]
    fn symbols_follow_the_input() {
        let mut model = model(vec![symbol("N"), Dimension::Fixed(3), symbol("W")]);
        let resolved =
            resolve_shapes(&model, &request(Some("x=1x3x8"), Some("x=2x3x8"), Some("x=4x3x8")), None).unwrap();
        assert!(resolved.is_dynamic());
        freeze_shapes(&mut model, &resolved);
        let graph = &model.proto().graph;
        for value in graph.input.iter().chain(&graph.output) {
            let Some(ValueType::Tensor(ty)) = value.type_.as_ref().and_then(ValueType::from_proto) else {
                panic!("no tensor")
            };
            assert_eq!(ty.shape, Some(vec![symbol("N"), Dimension::Fixed(3), Dimension::Fixed(8)]));
        }
    }
}

//! Runs over buffers that are bound once, against runs that copy.

use trtforge_graph::construct::{node, tensor};
use trtforge_graph::{ElementType, Tensor};
use trtforge_onnxruntime::{Binding, Buffer, SessionConfig, SharedSession};

use crate::machine::{noise, plain, runtime};
use crate::networks::{convolutions, network, single};

struct Block(Vec<u8>);

// SAFETY: the heap block of a vector that never grows stays where it is when the vector moves.
#[allow(unsafe_code)]
unsafe impl Buffer for Block {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

fn block(bytes: u64) -> Block {
    Block(vec![0; bytes as usize])
}

fn write(binding: &mut Binding<Block>, values: &[f32]) {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    binding.input(0).unwrap()[..bytes.len()].copy_from_slice(bytes);
}

#[test]
fn a_bound_run_gives_what_a_copying_one_gives_again_and_again() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(2, 16, false);
    let mut reference = runtime.session(&model, &plain()).unwrap();
    let shape =
        reference.inputs()[0].ty.shape.clone().unwrap().iter().map(|it| it.fixed().unwrap()).collect::<Vec<_>>();
    let output =
        reference.outputs()[0].ty.shape.clone().unwrap().iter().map(|it| it.fixed().unwrap()).collect::<Vec<_>>();
    let (count, output_count) = (shape.iter().product::<u64>(), output.iter().product::<u64>());
    let shared = SharedSession::new(runtime.session(&model, &plain()).unwrap());
    let signed = |shape: &[u64]| shape.iter().map(|&size| size as i64).collect::<Vec<_>>();
    let bind = || {
        let output = Some((block(output_count * 4), signed(&output)));
        shared.bind(vec![(block(count * 4), signed(&shape))], vec![output]).unwrap()
    };
    let mut bindings = [bind(), bind()];
    for seed in 1..6 {
        let values = noise(count, seed);
        let tensor = Tensor::from_vec(shape.clone(), values.clone()).unwrap();
        let expected = reference.run(&[("x", &tensor)], None).unwrap().remove(0).1.to_vec_f32().unwrap();
        std::thread::scope(|scope| {
            for binding in &mut bindings {
                scope.spawn(|| {
                    write(binding, &values);
                    binding.run().unwrap();
                    let got: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(binding.output(0).unwrap());
                    assert_eq!(got, expected);
                });
            }
        });
    }
}

#[test]
fn shapes_change_within_the_buffers_and_not_past_them() {
    let Some(runtime) = runtime() else { return };
    let mut model = single("Relu", (ElementType::Float32, &[1, 4]), (ElementType::Float32, &[1, 4]));
    let graph = model.proto_mut().graph.mut_or_insert_default();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        value.type_.mut_or_insert_default().mut_tensor_type().shape.mut_or_insert_default().dim[0]
            .set_dim_param("n".into());
    }
    let shared = SharedSession::new(runtime.session(&model, &SessionConfig::default()).unwrap());
    let mut binding = shared.bind(vec![(block(64), vec![4, 4])], vec![Some((block(64), vec![4, 4]))]).unwrap();
    write(&mut binding, &[-1.0; 16]);
    for rows in [1i64, 3, 4, 2] {
        binding.set_input_shape(0, &[rows, 4]).unwrap();
        binding.set_output_shape(0, &[rows, 4]).unwrap();
        write(&mut binding, &vec![rows as f32; rows as usize * 4]);
        binding.run().unwrap();
        let got: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(binding.output(0).unwrap());
        assert!(got[..rows as usize * 4].iter().all(|&value| value == rows as f32), "{got:?}");
    }
    assert!(binding.set_input_shape(0, &[5, 4]).is_err());
    assert!(binding.set_output_shape(0, &[-1, 4]).is_err());
    binding.set_output_shape(0, &[3, 4]).unwrap();
    assert!(binding.run().is_err(), "the output bound has another shape than the run makes");
    binding.set_output_shape(0, &[2, 4]).unwrap();
    binding.run().unwrap();
}

#[test]
fn an_output_whose_size_only_the_run_knows_is_left_to_onnx_runtime() {
    let Some(runtime) = runtime() else { return };
    let mut model = network(
        vec![node("NonZero", "only", ["x"], ["y"])],
        vec![tensor::<f32>("unused", [1], vec![0.0])],
        (ElementType::Float32, &[2, 3]),
        (ElementType::Int64, &[2, 1]),
    );
    let graph = model.proto_mut().graph.mut_or_insert_default();
    graph.initializer.clear();
    let output = &mut graph.output[0];
    output.type_.mut_or_insert_default().mut_tensor_type().shape.mut_or_insert_default().dim[1]
        .set_dim_param("found".into());
    let shared = SharedSession::new(runtime.session(&model, &plain()).unwrap());
    let mut binding = shared.bind(vec![(block(24), vec![2, 3])], vec![None]).unwrap();
    assert!(binding.output(0).unwrap().is_empty());
    for (values, expected) in [([0.0, 1.0, 0.0, 0.0, 0.0, 2.0], vec![0i64, 1, 1, 2]), ([0.0; 6], vec![])] {
        write(&mut binding, &values);
        binding.run().unwrap();
        let got: Vec<i64> = bytemuck::allocation::pod_collect_to_vec(binding.output(0).unwrap());
        assert_eq!(got, expected);
        let mut shape = [0; 8];
        assert_eq!(binding.open_output_shape(0, &mut shape).unwrap(), 2);
        assert_eq!(shape[..2], [2, expected.len() as i64 / 2]);
    }
}

#[test]
fn wrong_numbers_of_buffers_are_refused() {
    let Some(runtime) = runtime() else { return };
    let model = single("Relu", (ElementType::Float32, &[1, 4]), (ElementType::Float32, &[1, 4]));
    let shared = SharedSession::new(runtime.session(&model, &plain()).unwrap());
    assert!(shared.bind::<Block>(vec![], vec![None]).is_err());
    assert!(shared.bind(vec![(block(15), vec![1, 4])], vec![None]).is_err());
    let mut binding = shared.bind(vec![(block(16), vec![1, 4])], vec![None]).unwrap();
    assert!(binding.input(1).is_err() && binding.output(1).is_err() && binding.set_input_shape(9, &[1]).is_err());
}

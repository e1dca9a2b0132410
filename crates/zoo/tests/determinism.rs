//! One seed gives one file, wherever and however it is generated.

use trtforge_graph::Model;
use trtforge_graph::proto::TensorProto;
use trtforge_zoo::{Batch, Options, Variant, generate};

fn model(options: &Options) -> Model {
    generate(options).expect("valid options")
}

fn bytes(options: &Options) -> Vec<u8> {
    model(options).to_bytes().expect("serialises").to_vec()
}

/// Kernels and biases of the convolutions.
fn weights(options: &Options) -> Vec<TensorProto> {
    let graph = model(options).into_proto().graph.unwrap();
    let is_weight = |tensor: &TensorProto| tensor.name().ends_with(".weight") || tensor.name().ends_with(".bias");
    graph.initializer.into_iter().filter(is_weight).collect()
}

#[test]
fn a_seed_decides_every_byte() {
    for variant in [Variant::T, Variant::M, Variant::Ns] {
        let options = Options::new(variant);
        assert_eq!(bytes(&options), bytes(&options), "{variant}");
        let other = Options { seed: 1, ..options.clone() };
        assert_ne!(weights(&options), weights(&other), "{variant}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let options = Options::new(Variant::Nm);
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| bytes(&options))
    };
    assert_eq!(with_threads(1), with_threads(5));
}

#[test]
fn size_batch_and_outputs_leave_the_weights_alone() {
    let options = Options { seed: 9, ..Options::new(Variant::Ns) };
    let expected = weights(&options);
    assert_eq!(expected.len(), 2 * 91);
    assert_eq!(weights(&Options { size: Some(640), ..options.clone() }), expected);
    assert_eq!(weights(&Options { batch: Batch::Dynamic, ..options.clone() }), expected);
    assert_eq!(weights(&Options { raw: true, ..options }), expected);
}

/// Fowler-Noll-Vo, 64 bits.
fn checksum(tensors: &[TensorProto]) -> u64 {
    let bytes = tensors.iter().flat_map(|tensor| tensor.raw_data().iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Fails on a machine, or after a change, that gives other weights for the same seed: files made before would no longer be reproducible.
#[test]
fn weights_are_those_of_the_first_release() {
    assert_eq!(checksum(&weights(&Options { seed: 42, ..Options::new(Variant::T) })), 17_736_055_340_600_616_110);
    assert_eq!(checksum(&weights(&Options { seed: 42, ..Options::new(Variant::Ns) })), 17_269_951_824_931_914_269);
}

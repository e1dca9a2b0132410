//! Loading engines: on a machine without a GPU every way ends in a typed error; with one, engines
//! load and tell about themselves, and everything may be dropped in any order.

mod support;

use support::{model, ready, tensorrt};
use trtforge_tensorrt::{ContextMemory, Device, Error, NoDevice, TensorMode, TensorRt};

fn engine(tensorrt: TensorRt) -> Option<Vec<u8>> {
    let bytes = model("mnist_winml.onnx")?;
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    Some(builder.build(&mut network, &mut config).expect("an engine").engine.to_vec())
}

#[test]
fn the_absence_of_a_gpu_is_an_answer() {
    match Device::all() {
        Ok(devices) => {
            assert!(!devices.is_empty());
            assert!(devices.iter().all(|it| it.memory_bytes > 0 && it.compute_capability.0 > 0));
        }
        Err(none) => assert!(none.hint().is_some(), "{none}"),
    }
}

#[test]
fn an_engine_loads_where_there_is_a_gpu_and_fails_by_name_where_there_is_none() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(engine) = engine(tensorrt) else { return };
    let runtime = tensorrt.runtime().expect("a runtime needs no GPU");
    let loaded = runtime.deserialize(&engine);
    if let Err(none) = Device::all() {
        let error = loaded.err().expect("no GPU, no engine");
        assert!(matches!(error, Error::NoDevice(_)), "{error:?}");
        assert!(error.hint().is_some());
        assert!(matches!(none, NoDevice::NoDriver(_) | NoDevice::NoGpu | NoDevice::Driver { .. }));
        return;
    }
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(matches!(error, Error::Deserialize { .. }), "{error:?}");
            assert!(!error.log().is_empty(), "a refusal is logged");
            return;
        }
    };
    drop(runtime);
    let tensors = loaded.io_tensors();
    assert_eq!(tensors.iter().filter(|it| it.mode == TensorMode::Input).count(), 1);
    assert!(loaded.weights_bytes() > 0);
    let context = loaded.context(ContextMemory::Caller).expect("a context");
    drop(loaded);
    assert_eq!(context.engine().io_tensors(), tensors);
}

#[test]
fn what_is_no_engine_is_refused() {
    let Some(tensorrt) = tensorrt() else { return };
    let runtime = tensorrt.runtime().expect("a runtime");
    for bytes in [&[][..], &[0; 63], &[0; 64], &[0xff; 4096], b"vtrt and then nothing of use"] {
        let error = runtime.deserialize(bytes).err().expect("no engine");
        assert!(matches!(error, Error::NoDevice(_) | Error::Deserialize { .. }), "{error:?}");
    }
}

#[cfg(not(feature = "enterprise"))]
#[test]
fn a_header_tells_whether_an_engine_fits() {
    use trtforge_tensorrt::{EngineFault, Validity};
    let Some(tensorrt) = tensorrt() else { return };
    let Some(engine) = engine(tensorrt) else { return };
    let runtime = tensorrt.runtime().expect("a runtime");
    let header = runtime.header_bytes();
    assert_eq!(header, 64);
    let whole = runtime.validity(&engine);
    assert_eq!(whole, runtime.validity(&engine[..header]), "the header is all that counts");
    for (what, bytes) in [("nothing", &[][..]), ("a short header", &engine[..header - 1])] {
        let validity = runtime.validity(bytes);
        assert_eq!(validity, Validity::Invalid(vec![EngineFault::Malformed]), "{what}");
    }
    for (what, bytes) in [("zeros", &[0; 64]), ("ones", &[0xff; 64])] {
        let validity = runtime.validity(bytes);
        assert!(!matches!(validity, Validity::Valid | Validity::Suboptimal), "{what}: {validity:?}");
    }
}

#[test]
fn runtimes_are_made_and_dropped_beside_builders() {
    let Some(tensorrt) = tensorrt() else { return };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let runtime = tensorrt.runtime().expect("a runtime");
                    let builder = tensorrt.builder().expect("a builder");
                    drop(runtime);
                    let network = builder.network().expect("a network");
                    drop(builder);
                    drop(network);
                }
            });
        }
    });
}

#!/usr/bin/env python3
"""Small inputs to start fuzzing from: `seeds.py CORPUS_FOLDER`, run in .deps/venv.

One model per feature of the format that has code of its own: typed and raw tensors, subgraphs, functions, sparse
and string tensors, sequences, external data, symbolic dimensions.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT


def model(nodes, inputs, outputs, initializers=(), functions=(), **fields):
    graph = helper.make_graph(nodes, "seed", inputs, outputs, list(initializers), **fields)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=list(functions), opset_imports=opsets)


def value(name, shape, element=F32):
    return helper.make_tensor_value_info(name, element, shape)


def convolution():
    weight = numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    return model([node], [value("x", ["N", 1, 8, None])], [value("y", ["N", 2, 8, None])], [weight])


def branches():
    def branch(operator):
        return helper.make_graph([helper.make_node(operator, ["x"], ["b"])], operator, [], [value("b", [2])])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg"))
    return model([node], [value("x", [2]), value("c", [], TensorProto.BOOL)], [value("y", [2])])


def function():
    body = [helper.make_node("Mul", ["a", "a"], ["b"])]
    local = helper.make_function("local", "Square", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    return model([helper.make_node("Square", ["x"], ["y"], domain="local")], [value("x", [3])], [value("y", [3])], functions=[local])


def sparse():
    values = helper.make_tensor("s", F32, [2], [1.0, 2.0])
    tensor = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [2], [0, 3]), [4])
    return model([helper.make_node("Add", ["x", "s"], ["y"])], [value("x", [4])], [value("y", [4])], sparse_initializer=[tensor])


def strings():
    tensor = helper.make_tensor("t", TensorProto.STRING, [2], [b"a", b"\xff"])
    return model([helper.make_node("Identity", ["t"], ["y"])], [], [value("y", [2], TensorProto.STRING)], [tensor])


def external():
    result = convolution()
    tensor = result.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "w.bin"), ("offset", "0"), ("length", "72")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return result


def sequences():
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F32, [2]))
    node = helper.make_node("SequenceAt", ["s", "i"], ["y"])
    inputs = [helper.make_value_info("s", kind), value("i", [], TensorProto.INT64)]
    return model([node], inputs, [value("y", [2])])


def linear(operator, source, target, **attributes):
    return helper.make_node(operator, [source, "s", "z"], [target], **attributes)


def pairs():
    """Q/DQ with a zero-point in the middle, a move of quantized data, a stored weight and a quantized bias."""
    tensors = [
        numpy_helper.from_array(np.float32(0.03), "s"),
        numpy_helper.from_array(np.uint8(120), "z"),
        numpy_helper.from_array(np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3), "w.q"),
        numpy_helper.from_array(np.array([300], np.int32), "b.q"),
        numpy_helper.from_array(np.float32(0.0009), "b.s"),
    ]
    nodes = [
        linear("QuantizeLinear", "x", "x.q"),
        helper.make_node("MaxPool", ["x.q"], ["p.q"], kernel_shape=[1, 1]),
        linear("DequantizeLinear", "p.q", "d"),
        linear("DequantizeLinear", "w.q", "w"),
        helper.make_node("DequantizeLinear", ["b.q", "b.s"], ["b"]),
        helper.make_node("Conv", ["d", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        linear("QuantizeLinear", "c", "c.q"),
        linear("DequantizeLinear", "c.q", "y"),
    ]
    return model(nodes, [value("x", [1, 1, 8, 8])], [value("y", [1, 1, 8, 8])], tensors)


def channels():
    """Symmetric weights with a scale per channel, as TensorRT takes them."""
    tensors = [
        numpy_helper.from_array(np.float32(0.03), "s"),
        numpy_helper.from_array(np.int8(0), "z"),
        numpy_helper.from_array(np.ones((2, 1, 3, 3), np.int8), "w.q"),
        numpy_helper.from_array(np.array([0.1, 0.2], np.float32), "w.s"),
        numpy_helper.from_array(np.zeros(2, np.int8), "w.z"),
    ]
    nodes = [
        linear("QuantizeLinear", "x", "x.q"),
        linear("DequantizeLinear", "x.q", "d"),
        helper.make_node("DequantizeLinear", ["w.q", "w.s", "w.z"], ["w"], axis=0),
        helper.make_node("Conv", ["d", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    return model(nodes, [value("x", [1, 1, 8, 8])], [value("y", [1, 2, 8, 8])], tensors)


def integer_operators():
    """Operators that compute on quantized tensors, one of another domain."""
    tensors = [
        numpy_helper.from_array(np.float32(0.03), "s"),
        numpy_helper.from_array(np.uint8(120), "z"),
        numpy_helper.from_array(np.ones((1, 1, 1, 1), np.uint8), "w.q"),
    ]
    join = ["s", "z", "x.q", "s", "z", "c.q", "s", "z"]
    nodes = [
        linear("QuantizeLinear", "x", "x.q"),
        helper.make_node("QLinearConv", ["x.q", "s", "z", "w.q", "s", "z", "s", "z"], ["c.q"]),
        helper.make_node("QLinearConcat", join, ["j.q"], domain="com.microsoft", axis=1),
        linear("DequantizeLinear", "j.q", "y"),
    ]
    result = model(nodes, [value("x", [1, 1, 8, 8])], [value("y", [1, 2, 8, 8])], tensors)
    result.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return result


MANIFEST = {
    "schema": 1, "trtforge": "0.1.0", "tensorrt": {"flavour": "rtx", "version": "1.7.1"},
    "model": {"path": "m.onnx", "sha256": "00", "opset": 17}, "engine": {"sha256": "11", "bytes": 5},
    "precision": {"requested": "fp16", "nodes": {"fp32": 1, "fp16": 2, "int8": 0}, "kept": [{"node": "n", "reason": "r"}]},
    "shapes": {}, "memory": {"weights_bytes": 1, "activation_bytes": 2, "io_bytes": 3, "total_bytes": 6},
    "accuracy": [], "workspace_bytes": 536870912, "compute_capabilities": [], "timings_ms": {"read": 1.5}, "fingerprint": "22",
}  # fmt: skip

CONFIG = """model: models/damoyolo_s.onnx
precision: fp16
shapes: {images: {min: 1x3x640x640, opt: 4x3x640x640, max: 8x3x640x640}}
preprocess: {size: 640x640, fit: letterbox, order: rgb, scale: 1.0, mean: [0, 0, 0], std: [1, 1, 1], pad: 114}
calibration: {images: calibration/coco, count: 300, method: entropy, cache: calibration/damoyolo_s.cache}
quantize: {keep_fp16: ["neck\\\\..*"], accuracy_floor: {sqnr_db: 20}}
workspace: 512MiB
memory_budget: 1GiB
detector: {decoder: auto, score: 0.05, iou: 0.7, max: 500, classes: coco}
"""

CACHE = """TRT-8501-EntropyCalibration2
images: 3c010a14
input:0: 3C88EDFC
(Unnamed Layer* 64) [Shuffle]_output: 800000
"""


def plan(version=(1, 7, 1)):
    """The header of a TensorRT-RTX plan, and nothing in it."""
    words = np.array([int.from_bytes(b"vtrt", "little"), 2, 128, int.from_bytes(bytes(version), "little")], "<u8")
    return words.tobytes().ljust(128, b"\0")


def engines():
    """Bare, behind a prefix of JSON, with a manifest, and a model instead."""
    metadata = b'{"stride": 32}'
    prefixed = len(metadata).to_bytes(4, "little") + metadata + plan()
    manifest = json.dumps(MANIFEST).encode()
    alone = {"bare": plan(), "prefixed": prefixed, "model": convolution().SerializeToString()}
    together = len(manifest).to_bytes(2, "little") + manifest + plan()
    return {name: b"\0\0" + engine for name, engine in alone.items()} | {"manifest": together}


def arrays():
    """An array in a file of its own, and in archives."""
    found, values = {}, np.arange(12, dtype=np.float32).reshape(2, 6)
    for name, first, write in (("npy", b"\0", np.save), ("npz", b"\1", np.savez), ("packed", b"\1", np.savez_compressed)):
        stream = io.BytesIO()
        write(stream, values) if name == "npy" else write(stream, x=values)
        found[name] = first + stream.getvalue()
    return found


def main():
    corpus = Path(sys.argv[1])
    targets = ("read_onnx", "read_manifest", "read_config", "read_cache", "settle_quantization", "open_engine", "read_arrays")
    for name in targets:
        (corpus / name).mkdir(parents=True, exist_ok=True)
    for make in (convolution, branches, function, sparse, strings, external, sequences):
        (corpus / "read_onnx" / make.__name__).write_bytes(make().SerializeToString())
    for make in (pairs, channels, integer_operators, convolution):
        (corpus / "settle_quantization" / make.__name__).write_bytes(make().SerializeToString())
    (corpus / "read_manifest/seed").write_text(json.dumps(MANIFEST))
    (corpus / "read_config/seed").write_text(CONFIG)
    (corpus / "read_cache/seed").write_text(CACHE)
    for target, seeds in (("open_engine", engines()), ("read_arrays", arrays())):
        for name, seed in seeds.items():
            (corpus / target / name).write_bytes(seed)


if __name__ == "__main__":
    main()

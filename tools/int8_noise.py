"""INT8 of networks that no labels here judge, ours beside the peers': noise at the outputs, and memory of the engines.

The weights of DAMO-YOLO are random, so its noise says little of a trained network.
"""

from functools import partial

from measuring import MODELS, Measured, Row, Run, Table, engine_bytes, parts, tool, zoo
from quantizers import COSTS_HEADER, CONVERTER, ONNXRUNTIME, OPTIMIZER, OURS, PLAIN
from quantizers import attempt, build_ours, convert_float16, costs, quantize_with_peer, test_data, without_test_data

# 32 MB for DAMO-YOLO-S, whose FP16 engine by onnxconverter-common takes 54.6 MB; other sizes in proportion.
SHARE_OF_FP16 = 32 / 54.6
SOME_PHOTOGRAPHS = 16
HEADER = ["quantizer", "SQNR dB by output", *COSTS_HEADER]


def damoyolo(size):
    return "damoyolo", f"DAMO-YOLO-{size.upper()} 640, random weights", partial(zoo, f"damoyolo-{size}"), SHARE_OF_FP16


def given(network, title, file, size=None):
    return network, title, partial(with_fixed_input, file, size), None


def with_fixed_input(file, size):
    """A model of the test data; one whose input is open as a copy of one shape, which the peers need."""
    source = test_data() / "models" / file
    if size is None:
        return source
    import onnx
    from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed

    MODELS.mkdir(exist_ok=True)
    target, model = MODELS / f"fixed-{file}", onnx.load(source)
    make_input_shape_fixed(model.graph, model.graph.input[0].name, size)
    onnx.save(model, target)
    return target


SOME = [damoyolo("s"), given("ultraface", "UltraFace RFB 320x240", "ultraface_rfb_320.onnx")]
OTHERS = [damoyolo("t"), damoyolo("m"), given("ppocr", "PP-OCRv3 detector 640", "ppocr_v3_det.onnx", (1, 3, 640, 640))]


def noise(network, model, candidate):
    answer = Run(tool("signal_to_noise.py", network, model, candidate)).answer()
    return ", ".join(f"{name} {decibel:.1f}" for name, decibel in answer.items())


def quantizers(folder, network, model):
    def built(file, *flags):
        count = ["--calibration-count", SOME_PHOTOGRAPHS]

        return partial(build_ours, folder, network, model, folder / file, [*flags, *count])

    def peer(name, method):
        return partial(quantize_with_peer, folder, name, method, network, model, SOME_PHOTOGRAPHS)

    return {
        f"{CONVERTER} fp16": partial(convert_float16, folder, model),
        "trtforge fp16": built("half.onnx", "--precision", "fp16"),
        OURS: built("default.onnx", "--precision", "int8"),
        f"{OURS} plain entropy": built("plain.onnx", "--precision", "int8", "--calibration-method", "entropy", *PLAIN),
        f"{ONNXRUNTIME} MinMax": peer("onnxruntime", "MinMax"),
        f"{OPTIMIZER} max": peer("modelopt", "max"),
        f"{OPTIMIZER} entropy": peer("modelopt", "entropy"),
    }


def noise_of(network, title, fetch, most_share, folder):
    """Noise at the outputs and engine memory of one network."""
    model, found, made = fetch(), Measured(), {}
    table = Table(f"{title}: {SOME_PHOTOGRAPHS} photographs to calibrate on, outputs on 4 others", HEADER)
    for name, quantizer in quantizers(folder, network, model).items():
        made[name], reason = attempt(f"{title}: {name}", found.notes, quantizer)
        if reason:
            table.lines.append([name, reason, *["-"] * (len(HEADER) - 2)])
            continue
        told, refused = attempt(f"{title}: {name}, run", found.notes, partial(noise, network, model, made[name].path))
        table.lines.append([name, told or refused, *costs(made[name])])
    found.tables.append(table)
    if most_share:
        found.rows += memory_rows(title, made, most_share)
    return found


def memory_rows(title, made, most_share):
    """Weights + activation as a share of what the FP16 engine of the converter takes."""
    ours, half = (made[name] and made[name].memory for name in (OURS, f"{CONVERTER} fp16"))
    if not (ours and half):
        return [Row(f"{title} INT8: engine memory", "failed", "-", 1.0, most_share)]
    share = engine_bytes(ours) / engine_bytes(half)
    return [Row(f"{title} INT8: engine memory, beside {CONVERTER} fp16", parts(ours), parts(half), share, most_share)]


def noises(folder, quick):
    """DAMO-YOLO, UltraFace and PP-OCR."""
    if test_data() is None:
        return without_test_data("noise")
    found = Measured()
    for network in SOME if quick else SOME + OTHERS:
        found.add(noise_of(*network, folder))
    return found

"""INT8 beside onnxruntime's quantizer and NVIDIA Model-Optimizer's: accuracy, share in INT8, time and memory.

The same photographs, the same machine, one process after another. Every quantized model is then treated alike: scored
on ONNX Runtime with its graph optimisation off, its share in INT8 told by `trtforge inspect`, and built by TensorRT as
it stands. The wall time of a peer is without its imports and without TensorRT; that of trtforge is a whole `build`.
"""

import json
import os
import shutil
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from measuring import BINARY, MB, ROOT, Measured, Row, Run, Table, ToolFailed, build, engine_bytes, parts, tool, zoo

MODELOPT = ROOT / ".deps/venv-modelopt/bin/python"
NOT_INSTALLED = "not installed"
OURS, ONNXRUNTIME, OPTIMIZER, CONVERTER = "trtforge int8", "onnxruntime", "Model-Optimizer", "onnxconverter-common"
LABELS = {"onnxruntime": ONNXRUNTIME, "modelopt": OPTIMIZER}

# How trtforge is told what `detectors.py` does to a photograph.
PREPROCESS = {
    "yolox": "{size: 416x416, order: bgr, fit: letterbox-top-left, pad: 114}",
    "fastestdet": "{size: 352x352, order: bgr, scale: 0.00392156862745098}",
    "damoyolo": "{size: 640x640}",
}
TRAINED = {
    # name: title, file, least share of convolution arithmetic in INT8, what a peer's histograms of 64 photographs take
    "yolox": ("YOLOX-nano 416", "yolox_nano_416.onnx", 0.90, 9e9),
    "fastestdet": ("FastestDet 352", "fastestdet_352.onnx", 0.95, 3.5e9),
}
MOST_AP_LOST = 0.005
# Peers keep every value of every photograph for their histograms: 0.45 GB for each of DAMO-YOLO-S.
FEW_PHOTOGRAPHS = 8
FEW_PHOTOGRAPHS_BYTES = 5e9
# 32 MB for DAMO-YOLO-S, whose FP16 engine by onnxconverter-common takes 54.6 MB; other sizes in proportion.
SHARE_OF_FP16 = 32 / 54.6
MOST_CALIBRATION_PEAK_BYTES = 700 * MB


def versions():
    return [f"onnxconverter-common {version('onnxconverter-common')}", f"onnxruntime {version('onnxruntime')}", modelopt_version()]


def modelopt_version():
    if not MODELOPT.exists():
        return f"{OPTIMIZER} {NOT_INSTALLED}"
    code = "from importlib.metadata import version; print(version('nvidia-modelopt'))"
    return f"{OPTIMIZER} {Run([MODELOPT, '-c', code]).output.strip()}"


def test_data():
    folder = os.environ.get("TRTFORGE_TEST_DATA")
    return Path(folder) if folder else None


def without_test_data(section):
    return Measured(notes=[f"{section}: skipped, TRTFORGE_TEST_DATA is not set"])


def available_bytes():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 0


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


# --- quantizing ----------------------------------------------------------------------------------


class Unavailable(Exception):
    """A quantizer that could not be run here; the message is what its line says."""


class Quantized:
    """A model that a quantizer wrote, what that took, and what TensorRT says of its engine (None: not built)."""

    def __init__(self, path, run, wall_s, memory):
        self.path, self.wall_s, self.processor_s, self.peak_bytes = path, wall_s, run.processor_s, run.peak_bytes
        self.memory = memory


def engine_of(memory):
    return parts(memory) if memory else "not built"


def as_it_stands(folder, model):
    """Memory of the engine that TensorRT makes of a model, None where it refuses."""
    try:
        return build(model, "fp32", folder / "candidate.engine")[1]["memory"]
    except ToolFailed:
        return None


def config(folder, network, model):
    path = folder / f"{model.stem}.yaml"
    path.write_text(f"model: {model}\npreprocess: {PREPROCESS[network]}\n")
    return path


def build_ours(folder, network, model, target, flags):
    """The whole way to an engine: the model scored is the one that the engine was made of."""
    engine, photographs = folder / "ours.engine", test_data() / "images/calibration"
    command = [BINARY, "build", config(folder, network, model), "-o", engine, "--emit-onnx", target, "--calibration", photographs]
    run = Run([*command, "--force", "--no-verify", *flags])
    return Quantized(target, run, run.wall_s, json.loads(Path(f"{engine}.json").read_text())["memory"])


def peer_command(peer, method, network, model, target, photographs):
    python = sys.executable
    if peer == "modelopt":
        if not MODELOPT.exists():
            raise Unavailable(NOT_INSTALLED)
        python = MODELOPT
    limit = ["--photographs", photographs] if photographs else []
    return tool("quantize_with_peer.py", peer, method, network, model, target, *limit, python=python)


def quantize_with_peer(folder, peer, method, network, model, photographs=None, needed_bytes=0):
    target = folder / f"{peer}-{method}.onnx"
    if needed_bytes > available_bytes():
        raise Unavailable(f"needs {needed_bytes / 1e9:.1f} GB of memory")
    run = Run(peer_command(peer, method, network, model, target, photographs))
    return Quantized(target, run, run.answer()["seconds"], as_it_stands(folder, target))


def attempt(title, notes, action):
    """What `action` returns, or the words for the table where it cannot be had."""
    say(title)
    try:
        return action(), None
    except Unavailable as reason:
        return None, str(reason)
    except ToolFailed as error:
        notes.append(f"{title}: {error.last_words()}")
        return None, "failed"


def int8_share(model):
    """Share of the arithmetic of convolutions in INT8."""
    audit = json.loads(Run([BINARY, "inspect", model, "--json"]).output)["precision"]
    return sum(share["flop_fraction"] for share in audit["shares"] if share["arithmetic"] == "int8")


def costs(quantized):
    taken = [f"{quantized.wall_s:.1f}", f"{quantized.processor_s:.1f}", f"{quantized.peak_bytes / MB:.0f}"]
    return [*taken, engine_of(quantized.memory)]


# --- accuracy of trained detectors ---------------------------------------------------------------


def candidates(folder, network, model, histogram_bytes, quick):
    """The quantizer for every line of the table."""

    def ours(file, *flags):
        return partial(build_ours, folder, network, model, folder / file, flags)

    def peer(name, method, needed_bytes=0):
        return partial(quantize_with_peer, folder, name, method, network, model, needed_bytes=needed_bytes)

    found = {"trtforge fp16": ours("half.onnx", "--precision", "fp16"), OURS: ours("default.onnx", "--precision", "int8")}
    for method in ("minmax", "entropy"):
        found[f"{OURS} plain {method}"] = ours("plain.onnx", "--precision", "int8", "--calibration-method", method, *PLAIN)
    for method in ("MinMax",) if quick else ("MinMax", "Percentile", "Entropy"):
        found[f"{ONNXRUNTIME} {method}"] = peer("onnxruntime", method, 0 if method == "MinMax" else histogram_bytes)
    for method in ("max", "entropy"):
        found[f"{OPTIMIZER} {method}"] = peer("modelopt", method)
    return found


# Nothing is repaired and nothing left in FP16 for accuracy's sake: what is quantized has the method's thresholds.
PLAIN = ["--no-search"]


class Scored:
    """A model's accuracy and its share in INT8."""

    def __init__(self, network, model, reference):
        flags = ["--reference", reference] if reference.exists() else ["--keep", reference]
        answer = Run(tool("coco_average_precision.py", network, model, *flags)).answer()
        self.ap, self.ap50, self.agreement = answer["ap"], answer["ap50"], answer.get("agreement", 1.0)
        self.int8_share = int8_share(model)


COSTS_HEADER = ["INT8 FLOPs", "wall s", "processor s", "peak MB", "engine: weights + activation"]
ACCURACY_HEADER = ["quantizer", "AP", "AP50", "AP lost", "agreement", *COSTS_HEADER]


def accuracy_line(title, quantized, scored, full):
    taken = costs(quantized)
    scores = [f"{scored.ap:.4f}", f"{scored.ap50:.4f}", f"{full.ap - scored.ap:+.4f}", f"{scored.agreement:.3f}"]
    return [title, *scores, f"{100 * scored.int8_share:.1f} %", *taken]


def accuracy_of(network, folder, quick):
    """One trained detector through every quantizer."""
    title, file, least_share, histogram_bytes = TRAINED[network]
    model, reference = test_data() / "models" / file, folder / f"{network}.npy"
    found, table = Measured(), Table(f"{title}: 64 photographs to calibrate on, 64 others scored", ACCURACY_HEADER)
    full = Scored(network, model, reference)
    floating = build_ours(folder, network, model, folder / "full.onnx", ["--precision", "fp32"])
    table.lines.append(accuracy_line("FP32", floating, full, full))
    scores = {}
    for name, quantizer in candidates(folder, network, model, histogram_bytes, quick).items():
        quantized, reason = attempt(f"{title}: {name}", found.notes, quantizer)
        if quantized:
            scored = partial(Scored, network, quantized.path, reference)
            scores[name], reason = attempt(f"{title}: {name}, scored", found.notes, scored)
        blank = ["-"] * (len(ACCURACY_HEADER) - 2)
        table.lines.append([name, reason, *blank] if reason else accuracy_line(name, quantized, scores[name], full))
    found.tables.append(table)
    found.rows += accuracy_rows(title, full, scores, least_share)
    return found


def accuracy_rows(title, full, scores, least_share):
    ours = scores.get(OURS)
    if ours is None:
        return [Row(f"{title} INT8: AP lost", "failed", "-", 1.0, MOST_AP_LOST, "AP")]
    peers = [score.ap for name, score in scores.items() if not name.startswith("trtforge") and score]
    best = f"best {max(peers):.4f}" if peers else "-"
    share = f"{100 * ours.int8_share:.1f} %"
    return [
        Row(f"{title} INT8: AP lost", f"{ours.ap:.4f}", best, full.ap - ours.ap, MOST_AP_LOST, "AP"),
        Row(f"{title} INT8: convolution FLOPs in INT8", share, "-", ours.int8_share, least_share, "%", at_least=True),
    ]


def accuracy(folder, quick):
    """YOLOX-nano and FastestDet."""
    if test_data() is None:
        return without_test_data("accuracy")
    found = Measured()
    for network in TRAINED:
        found.add(accuracy_of(network, folder, quick))
    return found


# --- time and memory of calibration, on DAMO-YOLO ------------------------------------------------------


def calibrate(folder, model, images, method="entropy", count=None):
    """`trtforge calibrate` afresh: no histograms of an earlier run are found."""
    caches = folder / "cache"
    shutil.rmtree(caches, ignore_errors=True)
    caches.mkdir()
    limit = ["--calibration-count", count] if count else []
    flags = ["--calibration", images, "--calibration-method", method, "-o", caches / "calibration.cache", *limit]
    return Run([BINARY, "calibrate", config(folder, "damoyolo", model), *flags])


def forward_seconds(model, photographs=None):
    return Run(peer_command("forward", "passes", "damoyolo", model, "-", photographs)).answer()["seconds"]


def many_photographs(folder, times):
    """The calibration photographs, each under `times` names."""
    target = folder / f"photographs-{times}"
    target.mkdir()
    for path in (test_data() / "images/calibration").glob("*.jpg"):
        for number in range(times):
            (target / f"{number}-{path.name}").symlink_to(path.resolve())
    return target


def speed_rows(folder, model, notes):
    """Wall time against bare inferences, and against the peers: their cheapest method, and the same method."""
    photographs, title = test_data() / "images/calibration", "DAMO-YOLO-S INT8 calibration"
    say(f"{title}: 64 photographs")
    before = forward_seconds(model)
    all_of_them = calibrate(folder, model, photographs)
    bare, taken = (before + forward_seconds(model)) / 2, all_of_them.wall_s
    rows = [Row(f"{title}: entropy, 64 photographs, beside 64 inferences", f"{taken:.1f} s", f"{bare:.1f} s", taken / bare, 1.6)]
    for peer, method in (("onnxruntime", "MinMax"), ("modelopt", "max")):
        rows += against(folder, model, notes, all_of_them, peer, method, 64, None)
    few = calibrate(folder, model, photographs, count=FEW_PHOTOGRAPHS)
    for peer, method in (("onnxruntime", "Entropy"), ("modelopt", "entropy")):
        rows += against(folder, model, notes, few, peer, method, FEW_PHOTOGRAPHS, 1 / 5)
    return rows


def against(folder, model, notes, ours, peer, method, count, goal):
    """Our entropy calibration beside a peer's quantization with as many photographs."""
    measure = f"DAMO-YOLO-S INT8 calibration: entropy, {count} photographs, beside {LABELS[peer]} {method}"
    needed = FEW_PHOTOGRAPHS_BYTES if method.lower() == "entropy" else 0
    quantizer = partial(quantize_with_peer, folder, peer, method, "damoyolo", model, count, needed)
    theirs, reason = attempt(measure, notes, quantizer)
    if reason:
        notes.append(f"{measure}: {reason}")
        return []
    figures = [f"{taken.wall_s:.1f} s, {taken.peak_bytes / MB:.0f} MB" for taken in (ours, theirs)]
    return [Row(measure, *figures, ours.wall_s / theirs.wall_s, goal)]


def peak_rows(folder, model, quick):
    """Peak memory must not depend on the number of photographs."""
    photographs = test_data() / "images/calibration"
    title = "DAMO-YOLO-S INT8 calibration: peak memory"
    many, count = (photographs, 64) if quick else (many_photographs(folder, 4), 256)
    say(f"{title}, {count} photographs")
    few = calibrate(folder, model, photographs, count=16).peak_bytes
    most = calibrate(folder, model, many).peak_bytes
    return [
        Row(f"{title}, {count} photographs", f"{most / MB:.0f} MB", "-", most, MOST_CALIBRATION_PEAK_BYTES, "MB"),
        Row(f"{title}, {count} photographs beside 16", f"{most / MB:.0f} MB", f"{few / MB:.0f} MB", most / few, 1.05),
    ]


# --- engines and outputs of DAMO-YOLO -------------------------------------------------------------------

NOISE_HEADER = ["quantizer", "SQNR dB by output", *COSTS_HEADER]
SOME_PHOTOGRAPHS = 16


def noise(model, candidate):
    answer = Run(tool("signal_to_noise.py", "damoyolo", model, candidate)).answer()
    return ", ".join(f"{name} {decibel:.1f}" for name, decibel in answer.items())


def engine_quantizers(folder, model):
    def ours(file, *flags):
        count = ["--calibration-count", SOME_PHOTOGRAPHS]
        return partial(build_ours, folder, "damoyolo", model, folder / file, [*flags, *count])

    return {
        "trtforge fp16": ours("half.onnx", "--precision", "fp16"),
        OURS: ours("default.onnx", "--precision", "int8"),
        f"{OURS} plain entropy": ours("plain.onnx", "--precision", "int8", "--calibration-method", "entropy", *PLAIN),
        f"{ONNXRUNTIME} MinMax": partial(quantize_with_peer, folder, "onnxruntime", "MinMax", "damoyolo", model, SOME_PHOTOGRAPHS),
        f"{OPTIMIZER} max": partial(quantize_with_peer, folder, "modelopt", "max", "damoyolo", model, SOME_PHOTOGRAPHS),
        f"{CONVERTER} fp16": partial(convert_float16, folder, model),
    }


def convert_float16(folder, model):
    target = folder / "converted.onnx"
    run = Run(tool("convert_float16.py", model, target))
    return Quantized(target, run, float(run.output.split()[-1]), as_it_stands(folder, target))


def engine_line(model, title, quantized):
    return [title, noise(model, quantized.path), f"{100 * int8_share(quantized.path):.1f} %", *costs(quantized)]


def engines_of(size, folder):
    """Noise at the outputs and engine memory of one size."""
    model, title = zoo(f"damoyolo-{size}"), f"DAMO-YOLO-{size.upper()} 640"
    found, made = Measured(), {}
    table = Table(f"{title}, random weights: {SOME_PHOTOGRAPHS} photographs to calibrate on, outputs on 4 others", NOISE_HEADER)
    for name, quantizer in engine_quantizers(folder, model).items():
        made[name], reason = attempt(f"{title}: {name}", found.notes, quantizer)
        blank = ["-"] * (len(NOISE_HEADER) - 2)
        table.lines.append([name, reason, *blank] if reason else engine_line(model, name, made[name]))
    found.tables.append(table)
    found.rows += engine_rows(title, made)
    return found


def engine_rows(title, made):
    """Weights + activation as a share of what the FP16 engine of the converter takes."""
    ours, half = (made[name] and made[name].memory for name in (OURS, f"{CONVERTER} fp16"))
    if not (ours and half):
        return [Row(f"{title} INT8: engine memory", "failed", "-", 1.0, SHARE_OF_FP16)]
    share = engine_bytes(ours) / engine_bytes(half)
    return [Row(f"{title} INT8: engine memory, beside {CONVERTER} fp16", parts(ours), parts(half), share, SHARE_OF_FP16)]


def calibration(folder, quick):
    """DAMO-YOLO: time and memory of calibration, then the engines."""
    if test_data() is None:
        return without_test_data("calibration")
    model, found = zoo("damoyolo-s"), Measured()
    found.rows += speed_rows(folder, model, found.notes)
    found.rows += peak_rows(folder, model, quick)
    for size in "s" if quick else "st":
        found.add(engines_of(size, folder))
    return found

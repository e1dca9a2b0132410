"""Time and memory of INT8 on DAMO-YOLO at 640: the calibration beside bare inferences and the peers, then the engines.

The weights are random, so noise at the outputs stands for accuracy, and says little of a trained network.
"""

import shutil
from functools import partial

from measuring import MB, Measured, Row, Run, Table, engine_bytes, parts, tool, zoo
from quantizers import COSTS_HEADER, CONVERTER, LABELS, ONNXRUNTIME, OPTIMIZER, OURS, PLAIN
from quantizers import attempt, build_ours, convert_float16, costs, ours, peer_command, quantize_with_peer, say
from quantizers import test_data, without_test_data

# Peers keep every value of every photograph for their histograms: 0.45 GB for each of DAMO-YOLO-S.
FEW_PHOTOGRAPHS = 8
FEW_PHOTOGRAPHS_BYTES = 5e9
# 32 MB for DAMO-YOLO-S, whose FP16 engine by onnxconverter-common takes 54.6 MB; other sizes in proportion.
SHARE_OF_FP16 = 32 / 54.6
MOST_CALIBRATION_PEAK_BYTES = 700 * MB


def calibrate(folder, model, images, method="entropy", count=None):
    """`trtforge calibrate` afresh: no histograms of an earlier run are found."""
    caches = folder / "cache"
    shutil.rmtree(caches, ignore_errors=True)
    caches.mkdir()
    limit = ["--calibration-count", count] if count else []
    flags = ["--calibration", images, "--calibration-method", method, "-o", caches / "calibration.cache", *limit]
    return Run([*ours("calibrate", "damoyolo", model), *flags])


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
    def built(file, *flags):
        count = ["--calibration-count", SOME_PHOTOGRAPHS]
        return partial(build_ours, folder, "damoyolo", model, folder / file, [*flags, *count])

    return {
        "trtforge fp16": built("half.onnx", "--precision", "fp16"),
        OURS: built("default.onnx", "--precision", "int8"),
        f"{OURS} plain entropy": built("plain.onnx", "--precision", "int8", "--calibration-method", "entropy", *PLAIN),
        f"{ONNXRUNTIME} MinMax": partial(quantize_with_peer, folder, "onnxruntime", "MinMax", "damoyolo", model, SOME_PHOTOGRAPHS),
        f"{OPTIMIZER} max": partial(quantize_with_peer, folder, "modelopt", "max", "damoyolo", model, SOME_PHOTOGRAPHS),
        f"{CONVERTER} fp16": partial(convert_float16, folder, model),
    }


def engine_line(model, title, quantized):
    return [title, noise(model, quantized.path), *costs(quantized)]


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

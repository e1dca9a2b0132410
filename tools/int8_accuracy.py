"""INT8 accuracy of trained detectors, ours beside the peers': AP on photographs that none was calibrated on.

Every quantized model is treated alike: scored on ONNX Runtime with its graph optimisation off, its share in INT8 told
by `trtforge inspect`. No model has settings of its own.
"""

from functools import partial

from measuring import Measured, Row, Run, Table, tool
from quantizers import COSTS_HEADER, ONNXRUNTIME, OPTIMIZER, OURS, PLAIN
from quantizers import attempt, build_ours, costs, int8_share, quantize_with_peer, test_data, without_test_data

TRAINED = {
    # name: title, file, least share of convolution arithmetic in INT8, what a peer's histograms of 64 photographs take
    "yolox": ("YOLOX-nano 416", "yolox_nano_416.onnx", 0.90, 9e9),
    "fastestdet": ("FastestDet 352", "fastestdet_352.onnx", 0.95, 3.5e9),
}
MOST_AP_LOST = 0.005


def candidates(folder, network, model, histogram_bytes, quick):
    """The quantizer for every line of the table."""

    def built(file, *flags):
        return partial(build_ours, folder, network, model, folder / file, flags)

    def peer(name, method, needed_bytes=0):
        return partial(quantize_with_peer, folder, name, method, network, model, needed_bytes=needed_bytes)

    found = {"trtforge fp16": built("half.onnx", "--precision", "fp16"), OURS: built("default.onnx", "--precision", "int8")}
    for method in ("minmax", "entropy"):
        found[f"{OURS} plain {method}"] = built("plain.onnx", "--precision", "int8", "--calibration-method", method, *PLAIN)
    for method in ("MinMax",) if quick else ("MinMax", "Percentile", "Entropy"):
        found[f"{ONNXRUNTIME} {method}"] = peer("onnxruntime", method, 0 if method == "MinMax" else histogram_bytes)
    for method in ("max", "entropy"):
        found[f"{OPTIMIZER} {method}"] = peer("modelopt", method)
    return found


class Scored:
    """A model's accuracy."""

    def __init__(self, network, model, reference):
        flags = ["--reference", reference] if reference.exists() else ["--keep", reference]
        answer = Run(tool("coco_average_precision.py", network, model, "--views", *flags)).answer()
        self.ap, self.ap50 = answer["ap"], answer["ap50"]
        self.mean_ap, self.agreement = answer["mean"]["ap"], answer["mean"].get("agreement", 1.0)


ACCURACY_HEADER = ["quantizer", "AP", "AP50", "AP lost", "in 4 views", "agreement", *COSTS_HEADER]


def accuracy_line(title, quantized, scored, full):
    lost = [f"{full.ap - scored.ap:+.4f}", f"{full.mean_ap - scored.mean_ap:+.4f}"]
    return [title, f"{scored.ap:.4f}", f"{scored.ap50:.4f}", *lost, f"{scored.agreement:.3f}", *costs(quantized)]


def accuracy_of(network, folder, quick):
    """One trained detector through every quantizer."""
    title, file, least_share, histogram_bytes = TRAINED[network]
    model, reference = test_data() / "models" / file, folder / f"{network}.npz"
    found, table = Measured(), Table(f"{title}: 64 photographs to calibrate on, 64 others scored", ACCURACY_HEADER)
    full = Scored(network, model, reference)
    floating = build_ours(folder, network, model, folder / "full.onnx", ["--precision", "fp32"])
    table.lines.append(accuracy_line("FP32", floating, full, full))
    made, scores = {}, {}
    for name, quantizer in candidates(folder, network, model, histogram_bytes, quick).items():
        made[name], reason = attempt(f"{title}: {name}", found.notes, quantizer)
        if made[name]:
            scored = partial(Scored, network, made[name].path, reference)
            scores[name], reason = attempt(f"{title}: {name}, scored", found.notes, scored)
        blank = ["-"] * (len(ACCURACY_HEADER) - 2)
        table.lines.append([name, reason, *blank] if reason else accuracy_line(name, made[name], scores[name], full))
    found.tables.append(table)
    found.rows += accuracy_rows(title, full, scores, made[OURS], least_share)
    return found


def accuracy_rows(title, full, scores, quantized, least_share):
    ours = scores.get(OURS)
    if ours is None:
        return [Row(f"{title} INT8: AP lost", "failed", "-", 1.0, MOST_AP_LOST, "AP")]
    peers = [score.ap for name, score in scores.items() if not name.startswith("trtforge") and score]
    best = f"best {max(peers):.4f}" if peers else "-"
    share = int8_share(quantized.path)
    return [
        Row(f"{title} INT8: AP lost", f"{ours.ap:.4f}", best, full.ap - ours.ap, MOST_AP_LOST, "AP"),
        Row(f"{title} INT8: AP lost, mean of 4 views", f"{ours.mean_ap:.4f}", "-", full.mean_ap - ours.mean_ap, MOST_AP_LOST, "AP"),
        Row(f"{title} INT8: convolution FLOPs in INT8", f"{100 * share:.1f} %", "-", share, least_share, "%", at_least=True),
    ]


def accuracy(folder, quick):
    """YOLOX-nano and FastestDet."""
    if test_data() is None:
        return without_test_data("accuracy")
    found = Measured()
    for network in TRAINED:
        found.add(accuracy_of(network, folder, quick))
    return found

"""Time and memory of calibration on DAMO-YOLO-S at 640, beside bare inferences and the peers."""

import shutil
from functools import partial

from measuring import MB, Measured, Row, Run, zoo
from quantizers import LABELS, attempt, ours, peer_command, quantize_with_peer, say, test_data, without_test_data

# Peers keep every value of every photograph for their histograms: 0.45 GB for each of DAMO-YOLO-S.
FEW_PHOTOGRAPHS = 8
FEW_PHOTOGRAPHS_BYTES = 5e9
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


def calibration(folder, quick):
    """DAMO-YOLO-S: time and memory of calibration."""
    if test_data() is None:
        return without_test_data("calibration")
    model, found = zoo("damoyolo-s"), Measured()
    found.rows += speed_rows(folder, model, found.notes)
    found.rows += peak_rows(folder, model, quick)
    return found

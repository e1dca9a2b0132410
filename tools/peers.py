#!/usr/bin/env python3
"""Time, memory and accuracy of trtforge beside other tools: one run, one machine, and the goals they are held to.

    make peers                              all measurements
    tools/peers.py --only rewrite,accuracy  some of them (rewrite, build, memory, start, vision, accuracy, calibration,
                                            noise)
    tools/peers.py --quick                  INT8 without the slowest peers, models and repetitions
    tools/peers.py --json FILE              what was found as JSON too

Runs of the tools compared alternate, so that a noisy neighbour hits both; each figure is the median. The share of a
build beside TensorRT has no peer to share the noise with: it is that of the quickest of seven builds. Quantizers,
which take minutes, run once; processor seconds stand beside their wall time. Peak memory is the child process's own
ru_maxrss; this process stays small (standard library only), because the kernel counts the parent's pages at the
moment of starting a child as the child's.

`accuracy` and `calibration` need TRTFORGE_TEST_DATA. Model-Optimizer has an environment of its own (`make modelopt`);
without it its lines say `not installed`. So has torchvision (`make torchvision`).

Exit codes: 0 every goal reached; 1 one missed; 2 wrong usage; 3 something is missing.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import int8_accuracy
import int8_calibration
import int8_noise
import quantizers
import vision
from measuring import BINARY, MB, Measured, Row, Run, ToolFailed, alternate, build, engine_bytes, median, parts, print_rows, tool, zoo

# --- the measurements ------------------------------------------------------------------------------


def rewrite_rows(folder):
    """FP16 rewrite without data: the same file through both tools."""
    model = zoo("damoyolo-s")
    ours_command = [BINARY, "quantize", model, "--precision", "fp16", "--ranges", "none", "-o", folder / "ours.onnx"]
    ours, peer = alternate(5, ours_command, tool("convert_float16.py", model, folder / "peer.onnx"))
    for run in peer:
        run.conversion_s = float(run.output.split()[-1])
    ours_s, peer_s = median(ours, "wall_s"), median(peer, "wall_s")
    alone_s = median(peer, "conversion_s")
    ours_peak, peer_peak = median(ours, "peak_bytes"), median(peer, "peak_bytes")
    title = "FP16 rewrite, DAMO-YOLO-S"
    return [
        Row(f"{title}: wall", f"{ours_s:.2f} s", f"{peer_s:.2f} s", ours_s / peer_s, 1 / 3),
        Row(f"{title}: wall, peer's imports not counted", f"{ours_s:.2f} s", f"{alone_s:.2f} s", ours_s / alone_s, None),
        Row(f"{title}: peak memory", f"{ours_peak / MB:.0f} MB", f"{peer_peak / MB:.0f} MB", ours_peak / peer_peak, 1 / 2),
    ]


def build_rows(folder):
    """The whole process less TensorRT's own parse and build calls, as a share of those calls."""
    shares = []
    for _ in range(7):
        run, manifest = build(zoo("damoyolo-s"), "fp32", folder / "s-fp32.engine")
        timings = manifest["timings_ms"]
        tensorrt = timings["parse"] + timings["compile"]
        shares.append((run.wall_s, 1e3 * run.wall_s - tensorrt, tensorrt))
    _, beside, tensorrt = min(shares)
    share = beside / tensorrt
    title = "build fp32, DAMO-YOLO-S: time beside TensorRT's own"
    return [Row(title, f"{beside:.0f} ms", f"{tensorrt:.0f} ms", share, 0.4, "%")]


def memory_rows(folder):
    """Weights and activation that TensorRT reports, for our FP16 and for the peer's file built as it stands."""
    rows = []
    for size in "tsm":
        model, theirs = zoo(f"damoyolo-{size}"), folder / f"{size}-peer.onnx"
        Run(tool("convert_float16.py", model, theirs))
        ours = build(model, "fp16", folder / f"{size}-ours.engine")[1]["memory"]
        peer = build(theirs, "fp32", folder / f"{size}-peer.engine")[1]["memory"]
        ratio = engine_bytes(ours) / engine_bytes(peer)
        rows.append(Row(f"FP16 engine memory, DAMO-YOLO-{size.upper()}", parts(ours), parts(peer), ratio, 1.0))
    return rows


def start_rows(folder):
    """Start-up, and reading a large model."""
    help_runs, inspect_runs = alternate(21, [BINARY, "--help"])[0], alternate(3, [BINARY, "inspect", zoo("damoyolo-l")])[0]
    rows = []
    for title, runs, goal in (("start-up: trtforge --help", help_runs, 0.010), ("inspect DAMO-YOLO-L (170 MB)", inspect_runs, 1.0)):
        wall = median(runs, "wall_s")
        rows.append(Row(title, f"{1e3 * wall:.1f} ms", "-", wall, goal, "ms"))
    return rows


def rows_alone(measurement):
    return lambda folder, quick: Measured(measurement(folder))


MEASUREMENTS = {
    "rewrite": rows_alone(rewrite_rows),
    "build": rows_alone(build_rows),
    "memory": rows_alone(memory_rows),
    "start": rows_alone(start_rows),
    "vision": vision.vision,
    "accuracy": int8_accuracy.accuracy,
    "calibration": int8_calibration.calibration,
    "noise": int8_noise.noises,
}


# --- printing --------------------------------------------------------------------------------------


def measure(names, quick, json_path):
    found = Measured()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        for name in names:
            print(f"[{name}]", file=sys.stderr, flush=True)
            found.add(MEASUREMENTS[name](Path(folder), quick))
    print(f"peers: {', '.join(quantizers.versions())}; {os.cpu_count()} processors")
    for table in found.tables:
        table.print()
    print()
    print_rows(found.rows)
    for note in found.notes:
        print(f"note: {note}")
    if json_path:
        json_path.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    return 0 if all(row.reached() for row in found.rows) else 1


def main():
    parser = argparse.ArgumentParser(description="Time, memory and accuracy beside other tools.")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), metavar="NAMES", help="comma-separated measurements")
    parser.add_argument("--quick", action="store_true", help="INT8 without the slowest peers, models and repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if not set(names) <= set(MEASUREMENTS):
        parser.error(f"measurements are {', '.join(MEASUREMENTS)}")
    if not BINARY.exists():
        print(f"peers: {BINARY} is not built; run `make release`", file=sys.stderr)
        return 3
    try:
        return measure(names, arguments.quick, arguments.json)
    except ToolFailed as error:
        print(f"peers: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())

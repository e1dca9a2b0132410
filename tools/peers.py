#!/usr/bin/env python3
"""Time and memory of trtforge beside other tools: one run, one machine, ratios and the goals they are held to.

    make peers                           all measurements
    tools/peers.py --only rewrite,memory some of them (rewrite, build, memory, start)
    tools/peers.py --json FILE           the rows as JSON too

Runs of the tools compared alternate, so that a noisy neighbour hits both; each figure is the median. The share of a
build beside TensorRT has no peer to share the noise with: it is that of the quickest of seven builds. Peak memory is
the child process's own ru_maxrss; this process stays small (standard library only), because the kernel counts the
parent's pages at the moment of starting a child as the child's.

Exit codes: 0 every goal reached; 1 one missed; 2 wrong usage; 3 something is missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("TRTFORGE_BIN", ROOT / "target/release/trtforge"))
MODELS = ROOT / "models"
MB = 1e6


class ToolFailed(Exception):
    """A tool compared exited with an error; the message holds the command and its last words."""


class Row:
    """One line of the table. `value` is what is held against `goal`: a ratio, a share or a time."""

    def __init__(self, measure, ours, peer, value, goal, unit="x"):
        self.measure, self.ours, self.peer, self.value, self.goal, self.unit = measure, ours, peer, value, goal, unit

    def reached(self):
        return self.goal is None or self.value <= self.goal

    def cells(self):
        verdict = "" if self.goal is None else "ok" if self.reached() else "NOT REACHED"
        goal = "" if self.goal is None else f"<= {self.figure(self.goal)}"
        return [self.measure, self.ours, self.peer, self.figure(self.value), goal, verdict]

    def figure(self, number):
        return {"x": f"{number:.2f} x", "%": f"{100 * number:.1f} %", "ms": f"{1e3 * number:.1f} ms"}[self.unit]


# --- measuring -----------------------------------------------------------------------------------


class Run:
    """What one child process took."""

    def __init__(self, command):
        with tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            child = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(child.pid, 0)
            self.wall_s = time.perf_counter() - started
            child.returncode = os.waitstatus_to_exitcode(status)
            self.peak_bytes = usage.ru_maxrss * 1024
            output.seek(0)
            self.output = output.read().decode(errors="replace")
        if child.returncode != 0:
            raise ToolFailed(f"exit {child.returncode}: {' '.join(map(str, command))}\n{self.output[-1500:]}")


def alternate(rounds, *commands):
    """Every command once per round; a list of runs for each. One round beforehand warms the file cache."""
    runs = [[] for _ in commands]
    for number in range(rounds + 1):
        for slot, command in enumerate(commands):
            run = Run(command)
            if number > 0:
                runs[slot].append(run)
    return runs


def median(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def zoo(name):
    """A model of the zoo, generated once."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        MODELS.mkdir(exist_ok=True)
        Run([BINARY, "zoo", name, "-o", path])
    return path


# --- onnxconverter-common, in a process of its own ---------------------------------------------------


def convert_float16(source, target):
    """The whole job of the peer, timed without its imports: load, convert, save."""
    import onnx
    from onnxconverter_common import float16

    started = time.perf_counter()
    model = onnx.load(source)
    converted = float16.convert_float_to_float16(model, keep_io_types=True)
    onnx.save(converted, target)
    print(time.perf_counter() - started)


def converter(source, target):
    return [sys.executable, "-W", "ignore", __file__, "--convert-float16", source, target]


# --- the measurements ------------------------------------------------------------------------------


def rewrite_rows(folder):
    """FP16 rewrite without data: the same file through both tools."""
    model = zoo("damoyolo-s")
    ours_command = [BINARY, "quantize", model, "--precision", "fp16", "--ranges", "none", "-o", folder / "ours.onnx"]
    ours, peer = alternate(5, ours_command, converter(model, folder / "peer.onnx"))
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


def build(model, precision, engine):
    """Builds afresh, without the comparison with the FP32 model, which no peer makes; the run and the manifest."""
    run = Run([BINARY, "build", model, "--precision", precision, "-o", engine, "--force", "--no-verify"])
    return run, json.loads(Path(f"{engine}.json").read_text())


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
        Run(converter(model, theirs))
        ours = build(model, "fp16", folder / f"{size}-ours.engine")[1]["memory"]
        peer = build(theirs, "fp32", folder / f"{size}-peer.engine")[1]["memory"]
        totals = [memory["weights_bytes"] + memory["activation_bytes"] for memory in (ours, peer)]
        rows.append(Row(f"FP16 engine memory, DAMO-YOLO-{size.upper()}", parts(ours), parts(peer), totals[0] / totals[1], 1.0))
    return rows


def parts(memory):
    return f"{memory['weights_bytes'] / MB:.1f} + {memory['activation_bytes'] / MB:.1f} MB"


def start_rows(folder):
    """Start-up, and reading a large model."""
    help_runs, inspect_runs = alternate(21, [BINARY, "--help"])[0], alternate(3, [BINARY, "inspect", zoo("damoyolo-l")])[0]
    rows = []
    for title, runs, goal in (("start-up: trtforge --help", help_runs, 0.010), ("inspect DAMO-YOLO-L (170 MB)", inspect_runs, 1.0)):
        wall = median(runs, "wall_s")
        rows.append(Row(title, f"{1e3 * wall:.1f} ms", "-", wall, goal, "ms"))
    return rows


MEASUREMENTS = {"rewrite": rewrite_rows, "build": build_rows, "memory": memory_rows, "start": start_rows}


# --- printing --------------------------------------------------------------------------------------


def print_table(rows):
    cells = [["measure", "ours", "peer", "ours/peer", "goal", ""]] + [row.cells() for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    for line in cells:
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths))).rstrip())


def measure(names, json_path):
    from importlib.metadata import version

    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        rows = [row for name in names for row in MEASUREMENTS[name](Path(folder))]
    print(f"peer: onnxconverter-common {version('onnxconverter-common')}; {os.cpu_count()} processors; medians")
    print_table(rows)
    if json_path:
        json_path.write_text(json.dumps([dict(vars(row), reached=row.reached()) for row in rows], indent=1) + "\n")
    return 0 if all(row.reached() for row in rows) else 1


def main():
    if sys.argv[1:2] == ["--convert-float16"]:
        convert_float16(*sys.argv[2:4])
        return 0
    parser = argparse.ArgumentParser(description="Time and memory beside other tools.")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), metavar="NAMES", help="comma-separated measurements")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if not set(names) <= set(MEASUREMENTS):
        parser.error(f"measurements are {', '.join(MEASUREMENTS)}")
    if not BINARY.exists():
        print(f"peers: {BINARY} is not built; run `make release`", file=sys.stderr)
        return 3
    try:
        return measure(names, arguments.json)
    except ToolFailed as error:
        print(f"peers: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())

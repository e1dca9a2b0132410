"""The quantizers that are compared, ours and the peers', each as one child process on the same photographs.

The wall time of a peer is without its imports and without TensorRT; that of trtforge is a whole `build`. TensorRT then
builds what a peer wrote as it stands.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from measuring import BINARY, MB, ROOT, Measured, Run, ToolFailed, build, parts, tool

MODELOPT = ROOT / ".deps/venv-modelopt/bin/python"
NOT_INSTALLED = "not installed"
OURS, ONNXRUNTIME, OPTIMIZER, CONVERTER = "trtforge int8", "onnxruntime", "Model-Optimizer", "onnxconverter-common"
LABELS = {"onnxruntime": ONNXRUNTIME, "modelopt": OPTIMIZER}
CONFIGS = {"yolox": "yolox-nano.yaml", "fastestdet": "fastestdet.yaml", "damoyolo": "damoyolo-s.yaml", "ultraface": "ultraface.yaml", "ppocr": "ppocr-v3-det.yaml"}
# Nothing is repaired and nothing left in FP16 for accuracy's sake: what is quantized has the method's thresholds.
PLAIN = ["--no-search"]


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


def ours(command, network, model):
    """A command of trtforge with the model and the preprocessing of its shipped config."""
    return [BINARY, command, model, "--config", ROOT / "configs" / CONFIGS[network]]


def build_ours(folder, network, model, target, flags):
    """The whole way to an engine: the model scored is the one that the engine was made of."""
    engine, photographs = folder / "ours.engine", test_data() / "images/calibration"
    files = ["-o", engine, "--emit-onnx", target, "--calibration", photographs]
    run = Run([*ours("build", network, model), *files, "--force", "--no-verify", *flags])
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


COSTS_HEADER = ["INT8 FLOPs", "wall s", "processor s", "peak MB", "engine: weights + activation"]


def costs(quantized):
    """The cells under COSTS_HEADER."""
    times = [f"{quantized.wall_s:.1f}", f"{quantized.processor_s:.1f}"]
    return [f"{100 * int8_share(quantized.path):.1f} %", *times, f"{quantized.peak_bytes / MB:.0f}", engine_of(quantized.memory)]


def convert_float16(folder, model):
    target = folder / "converted.onnx"
    run = Run(tool("convert_float16.py", model, target))
    return Quantized(target, run, float(run.output.split()[-1]), as_it_stands(folder, target))

#!/usr/bin/env python3
"""Send every operator test of the `onnx` package through trtforge and compare outputs on ONNX Runtime.

Two ways for each model: `round trip` (read, check, write: outputs must be the same bit for bit, and so must
the parsed message) and `simplify` (outputs must agree within the test's own tolerance). Original and result run
on ONNX Runtime's CPU provider with its graph optimisation off. A model that ONNX Runtime itself cannot run, or
runs with chance in it, is skipped and counted by reason; its round trip is still held to the same message.

    make conformance                           all of it
    tools/conformance.py --only 'test_conv_.*' some of it
    tools/conformance.py --identity            copies files instead of running trtforge: tests this program
    tools/conformance.py --self-test           breaks models on purpose and sees that each breakage is found

Exit codes: 0 all the same; 1 a model failed, or too few could be run; 2 wrong usage; 3 something is missing.
"""

import argparse
import collections
import ctypes
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=RuntimeWarning)

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("TRTFORGE_BIN", ROOT / "target/release/trtforge"))
WAYS = {"round trip": "check", "simplify": "simplify"}
SHIPPED = ("simple", "pytorch-converted", "pytorch-operator")
# ONNX Runtime 1.32 runs far more than this; fewer means that the harness, not a model, is broken.
FEWEST_RUN = 1500
PATIENCE_S = 120

Case = collections.namedtuple("Case", "name model datasets rtol atol")
Result = collections.namedtuple("Result", "name way state detail")


# --- the cases -----------------------------------------------------------------------------------


def collect_cases(only):
    """The generated node tests, then the models with data that the package ships."""
    from onnx.backend.test.case.node import collect_testcases

    pattern = re.compile(only)
    cases = [
        Case(case.name, case.model, [inputs for inputs, _ in case.data_sets], case.rtol, case.atol)
        for case in collect_testcases()
        if pattern.search(case.name)
    ]
    data = Path(onnx.__file__).parent / "backend/test/data"
    for folder in sorted(path for kind in SHIPPED for path in (data / kind).iterdir()):
        if (folder / "model.onnx").exists() and pattern.search(folder.name):
            cases.append(shipped_case(folder))
    return cases


def shipped_case(folder):
    model = onnx.load(folder / "model.onnx")
    datasets = []
    for dataset in sorted(folder.glob("test_data_set_*")):
        count = len(list(dataset.glob("input_*.pb")))
        datasets.append([read_value(dataset / f"input_{i}.pb", model.graph.input[i].type) for i in range(count)])
    return Case(f"{folder.parent.name}/{folder.name}", model, datasets, 1e-3, 1e-7)


def read_value(path, value_type):
    kinds = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto, "tensor_type": onnx.TensorProto}
    value = kinds[value_type.WhichOneof("value")]()
    value.ParseFromString(path.read_bytes())
    return value


# --- ONNX Runtime --------------------------------------------------------------------------------


class CannotRun(Exception):
    """ONNX Runtime cannot run the model; the message is the reason, in few words."""


def reason_of(error):
    """A short reason that groups alike, from an ONNX Runtime error."""
    text = str(error)
    patterns = [
        (r"NOT_IMPLEMENTED|Could not find an implementation", "no implementation of the operator for these types"),
        (r"is not a registered function/op|No Op registered|Fatal error: .* is not a registered", "operator or opset unknown"),
        (r"Opset \d+ is under development|guaranteed support|unsupported model IR|Unsupported model IR", "operator or opset unknown"),
        (r"Exception during initialization", "an operator of it refuses its attributes or this machine's locales"),
        (r"Type Error|INVALID_GRAPH", "graph refused by its type checker"),
        (r"RUNTIME_EXCEPTION|Non-zero status|RuntimeException", "fails while running"),
    ]
    short = " ".join(re.sub(r"\[ONNXRuntimeError\]|/\S+|\w+::.*", "", text).split())[:90]
    return next((reason for pattern, reason in patterns if re.search(pattern, text)), f"{type(error).__name__}: {short}")


def session_of(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plain(value):
    """A test's input as ONNX Runtime takes it: arrays, lists of arrays, or None."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    if value is None or isinstance(value, (list, tuple)):
        return value if value is None else [plain(item) for item in value]
    return np.asarray(value)


def run(path, datasets):
    """Every output of every data set: a list of (name, value) lists."""
    session = session_of(path)
    names = [output.name for output in session.get_outputs()]
    results = []
    for inputs in datasets:
        feed = {argument.name: plain(value) for argument, value in zip(session.get_inputs(), inputs)}
        results.append(list(zip(names, run_once(session, feed))))
    return results


def run_once(session, feed):
    """Tensors go in and out as OrtValue, so that element types NumPy lacks (bfloat16, float8, int4) work too.

    Strings, sequences and optionals have no such way in, and none of those element types.
    """
    dense_in = all(isinstance(value, np.ndarray) and value.dtype.kind not in "OUS" for value in feed.values())
    dense_out = all(output.type.startswith("tensor(") and "string" not in output.type for output in session.get_outputs())
    if not (dense_in and dense_out):
        return session.run(None, feed)
    import onnxruntime

    values = {name: ort_value(onnxruntime, value) for name, value in feed.items()}
    return [comparable(value) for value in session.run_with_ort_values(None, values)]


def ort_value(onnxruntime, array):
    if array.dtype.isbuiltin == 1:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    message = numpy_helper.from_array(array)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), message.data_type)
    ctypes.memmove(value.data_ptr(), message.raw_data, len(message.raw_data))
    return value


def comparable(value):
    """An output as arrays; where NumPy has no such element type, the bytes where they lie."""
    try:
        return value.numpy()
    except RuntimeError as error:
        if "No corresponding Numpy type" not in str(error):
            raise
    element = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.element_type()))
    count = int(np.prod(value.shape(), dtype=np.int64))
    sub_byte = re.search(r"int(\d)|float4", element.name)
    if sub_byte:
        bits = int(sub_byte.group(1) or 4)
        return np.frombuffer(ctypes.string_at(value.data_ptr(), (count * bits + 7) // 8), np.uint8)
    data = ctypes.string_at(value.data_ptr(), count * element.itemsize)
    return np.frombuffer(data, element).reshape(value.shape())


# --- comparison ----------------------------------------------------------------------------------


def difference(reference, candidate, tolerance):
    """None when alike, otherwise the first difference in words. `tolerance` None means bit for bit."""
    for one, other in zip(reference, candidate, strict=True):
        if [name for name, _ in one] != [name for name, _ in other]:
            return f"outputs are {[name for name, _ in other]}, were {[name for name, _ in one]}"
        for (name, left), (_, right) in zip(one, other):
            found = value_difference(left, right, tolerance)
            if found:
                return f"output {name}: {found}"
    return None


def value_difference(left, right, tolerance):
    if isinstance(left, (list, tuple, dict)):
        return list_difference(left, right, tolerance)
    if left is None or right is None:
        return None if left is right else "an optional is empty on one side only"
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype != right.dtype or left.shape != right.shape:
        return f"is {right.dtype}{list(right.shape)}, was {left.dtype}{list(left.shape)}"
    if left.dtype.kind in "OUS" or tolerance is None:
        same = (left == right).all() if left.dtype.kind in "OUS" else left.tobytes() == right.tobytes()
        return None if same else largest_difference(left, right)
    return tolerance_difference(left, right, tolerance)


def list_difference(left, right, tolerance):
    if type(left) is not type(right) or len(left) != len(right):
        return "is not the same kind or length of sequence"
    if isinstance(left, dict):
        if list(left) != list(right):
            return "has other keys"
        left, right = list(left.values()), list(right.values())
    return next((d for d in (value_difference(a, b, tolerance) for a, b in zip(left, right)) if d), None)


def tolerance_difference(left, right, tolerance):
    if left.dtype.kind in "biu":
        return None if (left == right).all() else largest_difference(left, right)
    wide = np.complex128 if left.dtype.kind == "c" else np.float64
    alike = np.isclose(right.astype(wide), left.astype(wide), rtol=tolerance[0], atol=tolerance[1], equal_nan=True)
    return None if alike.all() else largest_difference(left, right)


def largest_difference(left, right):
    if left.dtype.kind in "OUS":
        return f"{np.count_nonzero(left != right)} of {left.size} strings differ"
    with np.errstate(all="ignore"):
        gap = np.abs(right.astype(np.complex128) - left.astype(np.complex128))
    return f"{np.count_nonzero(gap)} of {left.size} elements differ, by up to {np.nanmax(gap, initial=0.0):.3g}"


# --- one model -----------------------------------------------------------------------------------


class Failure(Exception):
    """trtforge did not do what it must; the message says what."""


def rewrite(source, target, way):
    """Runs trtforge's pipeline up to the pass of this way."""
    command = [str(BINARY), "quantize", str(source), "--precision", "fp32", "--stop-after", WAYS[way], "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"trtforge did not end within {PATIENCE_S} s") from error
    if done.returncode != 0:
        raise Failure(f"trtforge exited {done.returncode}: {' '.join(done.stderr.split())[-300:]}")


def copy(source, target, way):
    shutil.copyfile(source, target)


def reference_outputs(path, datasets):
    """The original's outputs, from two sessions: what differs between them cannot be compared."""
    try:
        first, second = run(path, datasets), run(path, datasets)
    except Exception as error:  # ONNX Runtime has a class of its own for each status code
        raise CannotRun(reason_of(error)) from error
    if difference(first, second, None):
        raise CannotRun("not deterministic: two runs of the original differ")
    return first


def check_case(case, folder, rewriter):
    source = folder / "model.onnx"
    source.write_bytes(case.model.SerializeToString())
    try:
        reference, reason = reference_outputs(source, case.datasets), None
    except CannotRun as error:
        reference, reason = None, str(error)
    return [check_way(case, folder, rewriter, way, reference, reason) for way in WAYS]


def check_way(case, folder, rewriter, way, reference, reason):
    bitwise = way == "round trip"
    if reference is None and not bitwise:
        return Result(case.name, way, "skipped", reason)
    target = folder / f"{way.replace(' ', '-')}.onnx"
    target.unlink(missing_ok=True)
    try:
        rewriter(folder / "model.onnx", target, way)
        if not target.exists():
            raise Failure("trtforge wrote nothing")
        if bitwise and onnx.load(target, load_external_data=False) != case.model:
            raise Failure("the message read back is not the one written")
        if reference is not None:
            compare_outputs(case, reference, target, None if bitwise else (case.rtol, case.atol))
    except Failure as error:
        return Result(case.name, way, "failed", str(error))
    return Result(case.name, way, "same" if reference is not None else "skipped", reason)


def compare_outputs(case, reference, target, tolerance):
    try:
        outputs = run(target, case.datasets)
    except Exception as error:
        raise Failure(f"ONNX Runtime cannot run the result: {' '.join(str(error).split())[:300]}") from error
    found = difference(reference, outputs, tolerance)
    if found:
        raise Failure(found)


# --- all models ----------------------------------------------------------------------------------

CASES = []


def worker(numbers, rewriter, queue):
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        while True:
            with numbers.get_lock():
                index = numbers.value
                numbers.value += 1
            if index >= len(CASES):
                return
            queue.put(check_case(CASES[index], folder, rewriter))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_all(cases, rewriter, processes):
    """Forked workers share the collected cases; ONNX Runtime is loaded only inside them."""
    CASES[:] = cases
    context = multiprocessing.get_context("fork")
    numbers, queue = context.Value("i", 0), context.Queue()
    workers = [context.Process(target=worker, args=(numbers, rewriter, queue)) for _ in range(processes)]
    for process in workers:
        process.start()
    results = []
    for done in range(len(cases)):
        results += next_result(queue, workers)
        if sys.stderr.isatty() and done % 20 == 0:
            print(f"\r{done} of {len(cases)}", end="", file=sys.stderr)
    for process in workers:
        process.join()
    return results


def next_result(queue, workers):
    import queue as queues

    while True:
        try:
            return queue.get(timeout=5)
        except queues.Empty:
            if any(process.exitcode for process in workers):
                sys.exit("conformance: a worker process died: ONNX Runtime crashed on a model")


def print_report(results, verbose):
    for way in WAYS:
        states = collections.Counter(result.state for result in results if result.way == way)
        ran = states["same"] + states["failed"]
        word = "bitwise the same" if way == "round trip" else "the same within tolerance"
        print(f"{way:11} {states['same']} of {ran} {word}; {states['skipped']} skipped, {states['failed']} failed")
    skipped = [result for result in results if result.state == "skipped" and result.way == "simplify"]
    if skipped:
        print("skipped, because ONNX Runtime cannot serve as the reference:")
        for reason, count in collections.Counter(result.detail for result in skipped).most_common():
            print(f"  {count:5}  {reason}")
            if verbose:
                print("         " + ", ".join(r.name for r in skipped if r.detail == reason))
    for result in results:
        if result.state == "failed":
            print(f"FAILED {result.way}: {result.name}: {result.detail}")


# --- the self-test -------------------------------------------------------------------------------


def breakage(change):
    def rewriter(source, target, way):
        model = onnx.load(source)
        change(model)
        onnx.save(model, target)

    return rewriter


def other_operator(model):
    model.graph.node[0].op_type = "Sub"


def other_output_name(model):
    model.graph.node[-1].output[0] = model.graph.output[0].name = "renamed"


def last_bit(model):
    tensor = model.graph.node[0].attribute[0].t
    array = numpy_helper.to_array(tensor).copy()
    array.view(np.uint32).flat[0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def unknown_operator(model):
    model.graph.node[0].op_type = "NoSuchOperator"


def lost_metadata(model):
    model.producer_name = "another"


def no_output(source, target, way):
    pass


def refused(source, target, way):
    raise Failure("trtforge exited 4: refused")


def self_test():
    """(breakage, case, which ways must fail); the last bit of a constant is within simplify's tolerance."""
    table = [
        ("identity", copy, "test_add", []),
        ("another operator", breakage(other_operator), "test_add", ["round trip", "simplify"]),
        ("an output renamed", breakage(other_output_name), "test_add", ["round trip", "simplify"]),
        ("a last bit", breakage(last_bit), "test_constant", ["round trip"]),
        ("an unknown operator", breakage(unknown_operator), "test_add", ["round trip", "simplify"]),
        ("metadata lost", breakage(lost_metadata), "test_add", ["round trip"]),
        ("nothing written", no_output, "test_add", ["round trip", "simplify"]),
        ("refused", refused, "test_add", ["round trip", "simplify"]),
        ("strings", copy, "test_string_concat", []),
        ("sequences", copy, "test_sequence_insert_at_back", []),
        ("optionals", copy, "test_if_opt", []),
    ]
    cases = {case.name: case for case in collect_cases("^test_(add|constant|string_concat|sequence_insert_at_back|if_opt)$")}
    bad = 0
    for title, rewriter, name, expected in table:
        results = check_all([cases[name]], rewriter, 1)
        failed = [result.way for result in results if result.state == "failed"]
        ok = failed == expected and all(result.state != "skipped" for result in results)
        bad += not ok
        print(f"self-test {'ok' if ok else 'NOT OK':6} {title}: failed {failed or 'nowhere'}" + ("" if ok else f", {results}"))
    bad += not bits_are_compared()
    return 1 if bad else 0


def bits_are_compared():
    """Outputs, not only messages, are compared bit for bit, NaN and signed zero included."""
    one = [[("y", np.array([1.0, np.nan, 0.0], np.float32))]]
    other = [[("y", np.array([1.0, np.nan, -0.0], np.float32))]]
    ok = not difference(one, one, None) and difference(one, other, None) and not difference(one, other, (1e-3, 1e-7))
    print(f"self-test {'ok' if ok else 'NOT OK':6} signed zero and NaN")
    return bool(ok)


def main():
    parser = argparse.ArgumentParser(description="Operator tests of the onnx package through trtforge.")
    parser.add_argument("--only", default="", metavar="REGEX", help="models whose name matches")
    parser.add_argument("--identity", action="store_true", help="copy files instead of running trtforge")
    parser.add_argument("--self-test", action="store_true", help="see that deliberate breakages are found")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="name the skipped models")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if not arguments.identity and not BINARY.exists():
        print(f"conformance: {BINARY} is not built; run `make release`", file=sys.stderr)
        return 3
    return conformance(arguments)


def conformance(arguments):
    from importlib.metadata import version

    started = time.monotonic()
    cases = collect_cases(arguments.only)
    print(f"conformance: {len(cases)} models of onnx {onnx.__version__} on ONNX Runtime {version('onnxruntime')}", flush=True)
    results = check_all(cases, copy if arguments.identity else rewrite, arguments.processes)
    print_report(sorted(results), arguments.verbose)
    print(f"{time.monotonic() - started:.0f} s")
    ran = sum(result.state != "skipped" for result in results if result.way == "simplify")
    if not arguments.only and ran < FEWEST_RUN:
        print(f"FAILED: only {ran} models ran; at least {FEWEST_RUN} must", file=sys.stderr)
        return 1
    return 1 if any(result.state == "failed" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())

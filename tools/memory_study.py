#!/usr/bin/env python3
"""Write docs/memory.md: what DAMO-YOLO takes by model, precision, batch and stages, from real builds.

    tools/memory_study.py --trtforge target/release/trtforge
    tools/memory_study.py --models t,s --stages 1,4 --staged-batches 1

Models come from `trtforge zoo` (the architecture with random weights: memory does not depend on what weights are), figures
from `trtforge plan --json`, which remembers them: an interrupted study goes on where it was. Standard library only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"ns": 416, "nm": 416, "nl": 416, "t": 640, "s": 640, "m": 640, "l": 640}
PRECISIONS = ("fp32", "fp16", "int8")
CARDS = (512, 1024, 2048, 4096)
MIB = 1 << 20


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        studies = {name: study(arguments, name, Path(folder)) for name in arguments.models}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    text = page(studies, arguments)
    staged = arguments.output.with_suffix(".md.new")
    staged.write_text(text)
    os.replace(staged, arguments.output)
    print(f"{arguments.output}: {sum(len(rows) for rows, _ in studies.values())} builds")


def parse():
    parser = argparse.ArgumentParser(description="Write docs/memory.md from real builds.")
    parser.add_argument("--trtforge", type=Path, default=ROOT / "target/release/trtforge")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS), metavar="ns,t,s")
    parser.add_argument("--batches", type=numbers_of, default=[1, 4, 8, 16], metavar="1,4")
    parser.add_argument("--stages", type=numbers_of, default=[1, 2, 4], metavar="1,4")
    parser.add_argument("--staged-batches", type=numbers_of, metavar="1", help="batches that are cut into stages [all]")
    parser.add_argument("--reserve", type=int, default=256, metavar="MIB", help="memory of a card that is not for the network")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/memory.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.models if name not in MODELS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(MODELS)}")
    arguments.staged_batches = arguments.staged_batches or arguments.batches
    if unmeasured := set(arguments.staged_batches) - set(arguments.batches):
        parser.error(f"stages are compared with one engine at the same batch: add {listed(sorted(unmeasured))} to --batches")
    if 1 not in arguments.stages or 1 not in arguments.batches:
        parser.error("everything is compared with one engine at batch 1: 1 has to be among --stages and --batches")
    return arguments


def study(arguments, name, folder):
    """Rows by (precision, batch, stages) of one model, and where its plots are."""
    model = folder / f"damoyolo-{name}.onnx"
    run([arguments.trtforge, "zoo", f"damoyolo-{name}", "--batch", "dynamic", "-o", model, "-q"])
    plots = arguments.output.parent / "memory" / f"damoyolo-{name}"
    plots.parent.mkdir(parents=True, exist_ok=True)
    plan = [arguments.trtforge, "plan", model, "--precision", ",".join(PRECISIONS), "--json"]
    rows = []
    for batches, stages in splits(arguments):
        print(f"damoyolo-{name}: batch {listed(batches)}, stages {listed(stages)}", file=sys.stderr, flush=True)
        asked = ["--batches", listed(batches), "--stages", listed(stages)]
        rows += json.loads(run([*plan, *asked]))["rows"]
    # Drawn from what was just built: at batch 1, where a picture of bars is still one to read.
    run([*plan, "--batches", "1", "--stages", listed(arguments.stages), "--svg", f"{plots}.svg"])
    model.unlink()
    return {(row["precision"], row["batch"], row["stages"]): row for row in rows}, plots.name


def splits(arguments):
    """(batches, stages) of each call: stages only at the batches that are to be cut."""
    more = [count for count in arguments.stages if count > 1]
    return [(arguments.batches, [1])] + ([(arguments.staged_batches, more)] if more else [])


def run(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"memory_study: {' '.join(map(str, command))}: exit {done.returncode}")
    return done.stdout


def page(studies, arguments):
    more = [str(count) for count in arguments.stages if count > 1]
    batches = "the same" if arguments.staged_batches == arguments.batches else f"batch {spaced(arguments.staged_batches)}"
    staged = f"; in {' and '.join(more)} stages {batches}" if more else ""
    head = HEAD.format(reserve=arguments.reserve, batches=spaced(arguments.batches), staged=staged)
    tables = [head, pick_table(studies, arguments), TECHNIQUES, technique_table(studies, arguments), EVERYTHING]
    return "\n".join(tables + [model_section(name, rows, plot) for name, (rows, plot) in studies.items()])


def pick_table(studies, arguments):
    """For every card and model the largest batch of each precision that fits as one engine, and in stages where that is more."""
    lines = ["| card | " + " | ".join(title(name) for name in studies) + " |", "|---" * (len(studies) + 1) + "|"]
    for card in CARDS:
        budget = (card - arguments.reserve) * MIB
        cells = [pick(rows, budget) for rows, _ in studies.values()]
        lines.append(f"| {size_of_card(card)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def pick(rows, budget):
    fits = [key for key, row in rows.items() if row["total_bytes"] <= budget]
    lines = []
    for precision in PRECISIONS:
        whole = max((batch for kind, batch, stages in fits if (kind, stages) == (precision, 1)), default=0)
        # The largest batch, and of what holds that the fewest stages.
        staged, stages = max(((batch, -stages) for kind, batch, stages in fits if kind == precision), default=(0, 0))
        choices = [f"×{whole}"] if whole else []
        choices += [f"×{staged} in {-stages} stages"] if staged > whole else []
        if choices:
            lines.append(f"{precision} {', '.join(choices)}")
    return "<br>".join(lines) or "nothing"


def technique_table(studies, arguments):
    """What each technique saves of one FP32 engine at batch 1."""
    staged = max(arguments.stages)
    head = ["model", "fp32", "fp16", "int8"] + [f"{precision} in {staged} stages" for precision in PRECISIONS if staged > 1]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, (rows, _) in studies.items():
        whole = rows["fp32", 1, 1]["total_bytes"]
        cells = [mebibytes(whole)]
        asked = [("fp16", 1), ("int8", 1)] + [(precision, staged) for precision in PRECISIONS if staged > 1]
        for precision, stages in asked:
            row = rows.get((precision, 1, stages))
            cells.append(f"{mebibytes(row['total_bytes'])} (−{100 * (1 - row['total_bytes'] / whole):.0f} %)" if row else "")
        lines.append(f"| {title(name)} | " + " | ".join(cells) + " |")
    if larger := [title(name) for name, (rows, _) in studies.items() if staged > 1 and is_larger_in_stages(rows, staged)]:
        lines.append(
            f"\nOf {spaced(larger)} a stage in INT8 takes more than one in FP16: weights are few there, and where a tensor is rounded to"
            "\nINT8 by a kernel of its own both forms of it are held."
        )
    return "\n".join(lines) + "\n"


def is_larger_in_stages(rows, stages):
    """Whether INT8 takes more than FP16 at batch 1."""
    int8, fp16 = (rows.get((precision, 1, stages)) for precision in ("int8", "fp16"))
    return bool(int8 and fp16) and int8["total_bytes"] > fp16["total_bytes"]


def model_section(name, rows, plot):
    lines = [
        f"\n### DAMO-YOLO {title(name)}, {MODELS[name]}×{MODELS[name]}\n",
        f"![Memory of DAMO-YOLO {title(name)} at batch 1: activation over depth, and every build by class](memory/{plot}.svg)\n",
        "| precision | batch | stages | weights | activation | least | in, out | total | of fp32 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (precision, batch, stages), row in sorted(rows.items(), key=lambda item: (PRECISIONS.index(item[0][0]), item[0][1:])):
        fp32 = rows["fp32", batch, 1]["total_bytes"]
        least = mebibytes(row["lower_bound_bytes"]) if stages == 1 else ""
        cells = [precision, batch, stages, mebibytes(row["weights_bytes"]), mebibytes(row["activation_bytes"]), least]
        cells += [mebibytes(row["io_bytes"]), mebibytes(row["total_bytes"]), f"{100 * row['total_bytes'] / fp32:.0f} %"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def spaced(items):
    return ", ".join(map(str, items))


def numbers_of(text):
    return [int(number) for number in text.split(",")]


def title(name):
    return name.upper() if len(name) == 1 else name.capitalize()


def listed(numbers):
    return ",".join(map(str, numbers))


def mebibytes(count):
    return f"{count / MIB:.1f}"


def size_of_card(mebibyte):
    return f"{mebibyte} MiB" if mebibyte < 1024 else f"{mebibyte // 1024} GiB"


HEAD = """# Memory of DAMO-YOLO

Written by `make memory-study` from real TensorRT builds; every figure is the compiler's own. Nothing here depends on the
GPU or on what the weights are. Sizes are in MiB; `trtforge plan MODEL --precision fp32,fp16,int8 --batches 1,4 --stages 1,4`
gives the same for a model of yours. Looked at: batch {batches} as one engine{staged}.

## Which one for which card

The largest batch looked at that fits, by precision: as one engine, and in stages where they hold more. {reserve} MiB of each card are left to the CUDA context, the driver and
whatever else is on it: an assumption, not a measurement; `nvidia-smi` tells what a process holds before it loads an engine.
"""

TECHNIQUES = """
## What each technique saves

At batch 1, of one FP32 engine. A network in stages holds one stage at a time and the tensors between them; what that costs
in time is shown by `trtforge plan --stages 1,2,4 --time`.
"""

EVERYTHING = """
## Every build

*Activation* is the block that one execution context needs; *least* is the static lower bound on it, the values between nodes
when node runs after node and nothing is fused. TensorRT stays below it where it fuses nodes, and above it because every
kernel with weights is charged 7.8 MiB of scratch memory and because tensors leave gaps; `trtforge plan` tells for each build
which tensors, how much scratch and how much gap make the peak. Of a network in stages all figures are those of the stage that
takes most, and *in, out* holds the tensors between stages as well.
"""


if __name__ == "__main__":
    main()

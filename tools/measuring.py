"""What every comparison with another tool is made of: child processes measured, rows held to goals, tables.

Standard library only: the kernel counts the parent's pages at the moment of starting a child as the child's, so the
process that measures peak memory must stay small. Whatever loads a library runs as a child.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
BINARY = Path(os.environ.get("TRTFORGE_BIN", ROOT / "target/release/trtforge"))
MODELS = ROOT / "models"
MB = 1e6
# How a figure is printed: factor, digits, suffix.
UNITS = {"x": (1, 2, " x"), "%": (100, 1, " %"), "ms": (1e3, 1, " ms"), "MB": (1 / MB, 1, " MB"), "AP": (1, 4, "")}


class ToolFailed(Exception):
    """A tool compared exited with an error; the message holds the command and its last words."""

    def __init__(self, code, command, output):
        super().__init__(f"exit {code}: {' '.join(map(str, command))}\n{output[-1500:]}")
        self.code, self.output = code, output

    def last_words(self):
        lines = [line for line in self.output.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error")]
        return (errors or lines or ["no output"])[-1].strip()[:160]


class Row:
    """A measurement: `value` is what is held against `goal`, a limit from above unless `at_least`."""

    def __init__(self, measure, ours, peer, value, goal, unit="x", at_least=False):
        self.measure, self.ours, self.peer, self.value, self.goal, self.unit = measure, ours, peer, value, goal, unit
        self.at_least = at_least

    def reached(self):
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def cells(self):
        verdict = "" if self.goal is None else "ok" if self.reached() else "NOT REACHED"
        goal = "" if self.goal is None else f"{'>=' if self.at_least else '<='} {self.figure(self.goal)}"
        return [self.measure, self.ours, self.peer, self.figure(self.value), goal, verdict]

    def figure(self, number):
        factor, digits, suffix = UNITS[self.unit]
        return f"{factor * number:.{digits}f}{suffix}"


class Table:
    """Lines of text under a heading: what a goal's single figure does not show."""

    def __init__(self, title, header):
        self.title, self.header, self.lines = title, header, []

    def print(self):
        print(f"\n{self.title}")
        print_columns([self.header] + self.lines)


class Measured:
    """What one section found: rows held to goals, tables beside them, and what it could not do."""

    def __init__(self, rows=(), tables=(), notes=()):
        self.rows, self.tables, self.notes = list(rows), list(tables), list(notes)

    def add(self, other):
        self.rows += other.rows
        self.tables += other.tables
        self.notes += other.notes

    def as_json(self):
        rows = [dict(vars(row), reached=row.reached()) for row in self.rows]
        tables = [dict(title=table.title, lines=[dict(zip(table.header, line)) for line in table.lines]) for table in self.tables]
        return {"rows": rows, "tables": tables, "notes": self.notes}


def print_columns(lines):
    """Aligned: the first column to the left, figures to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = zip(line, widths)
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(cells)).rstrip())


def print_rows(rows):
    print_columns([["measure", "ours", "peer", "figure", "goal", ""]] + [row.cells() for row in rows])


# --- measuring -----------------------------------------------------------------------------------


class Run:
    """What one child process took. Its standard output and error are kept together in `output`."""

    def __init__(self, command):
        with tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            child = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(child.pid, 0)
            self.wall_s = time.perf_counter() - started
            child.returncode = os.waitstatus_to_exitcode(status)
            self.peak_bytes = usage.ru_maxrss * 1024
            self.processor_s = usage.ru_utime + usage.ru_stime
            output.seek(0)
            self.output = output.read().decode(errors="replace")
        if child.returncode != 0:
            raise ToolFailed(child.returncode, command, self.output)

    def answer(self):
        """The JSON that a Python child prints as its last line."""
        return json.loads(self.output.splitlines()[-1])


def tool(name, *arguments, python=sys.executable):
    """The command of a script of this folder."""
    return [python, "-W", "ignore", TOOLS / name, *arguments]


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


# --- trtforge --------------------------------------------------------------------------------------


def zoo(name):
    """A model of the zoo, generated once."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        MODELS.mkdir(exist_ok=True)
        Run([BINARY, "zoo", name, "-o", path])
    return path


def build(model, precision, engine):
    """Builds afresh, without the comparison with the FP32 model, which no peer makes; the run and the manifest."""
    run = Run([BINARY, "build", model, "--precision", precision, "-o", engine, "--force", "--no-verify"])
    return run, json.loads(Path(f"{engine}.json").read_text())


def engine_bytes(memory):
    return memory["weights_bytes"] + memory["activation_bytes"]


def parts(memory):
    return f"{memory['weights_bytes'] / MB:.1f} + {memory['activation_bytes'] / MB:.1f} MB"

#!/usr/bin/env python3
"""Make the virtual environment of the development tools: `venv.py REQUIREMENTS FOLDER [--no-deps]`.

A stamp written last says that the environment is whole: an interrupted run leaves none that looks
finished. It is made anew when the requirements change. With `--no-deps` only what the file lists is
installed, not what its packages ask for. The product itself needs no Python.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path


def is_current(folder, wanted):
    stamp = folder / "requirements.stamp"
    return stamp.exists() and stamp.read_text() == wanted


def make(requirements, folder, flags):
    # A virtual environment holds its own path, so it cannot be renamed: the stamp, written last, is what counts.
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run(
        [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--only-binary=:all:", *flags, "--requirement", str(requirements)],
        check=True,
    )  # fmt: skip
    (folder / "requirements.stamp").write_text(requirements.read_text())


def main():
    requirements, folder, flags = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(folder, requirements.read_text()):
            print(f"making {folder} for the development tools", flush=True)
            try:
                make(requirements, folder, flags)
            except subprocess.CalledProcessError as error:
                print(f"venv: error: `{' '.join(map(str, error.cmd))}` failed; run the same make target again", file=sys.stderr)
                return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())

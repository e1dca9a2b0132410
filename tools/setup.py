#!/usr/bin/env python3
"""Put the shared libraries under .deps/lib and see that the build's own needs are there.

`make setup` runs this. It takes TensorRT-RTX, its ONNX parser and ONNX Runtime out of pinned wheels
(tools/wheels.txt, tools/libraries.tsv), and looks for libclang and a C++ compiler, which the TensorRT
binding needs to compile: as root it installs the Debian packages, otherwise it names them.

A file appears under .deps/lib only whole and with the hash it must have: everything is written under a
temporary name, checked, then renamed. An interrupted run is continued by the next one; a damaged file is
replaced; several runs at once wait for one another. Nothing outside .deps is written, save by apt-get.

Exit codes: 0 all there; 2 wrong usage; 3 something is missing that this run could not get.
"""

import argparse
import csv
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
MISSING = 3
LIBCLANG_BELOW = 22


class SetupError(Exception):
    """What went wrong and what to do about it, in words for a person."""


def say(text):
    print(f"setup: {text}", flush=True)


class Library:
    """One row of tools/libraries.tsv: a shared library and where it comes from."""

    def __init__(self, row):
        self.file = row["file"]
        self.package = row["package"]
        self.platform = row["platform"]
        self.wheel_sha256 = row["wheel_sha256"]
        self.member = row["member"]
        self.sha256 = row["sha256"]

    def links(self):
        """`libx.so.1.2.3` is found as `libx.so.1` (its soname) and as `libx.so`."""
        stem, version = self.file.split(".so.")
        return [f"{stem}.so.{version.split('.')[0]}", f"{stem}.so"]


def libraries_for(machine):
    with open(TOOLS / "libraries.tsv", newline="") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["machine"] == machine]
    if not rows:
        raise SetupError(
            f"there is no TensorRT-RTX wheel for {platform.system()} on {machine}: only x86_64 and aarch64 Linux. "
            "Put the libraries into a folder yourself and name it in TRTFORGE_LIB_DIR."
        )
    return [Library(row) for row in rows]


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def identity(path):
    """What changes whenever a file's bytes change, at the price of one stat call."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class Deps:
    """The .deps folder: libraries, fetched wheels, the record of what was verified, and the lock."""

    def __init__(self, folder):
        self.folder = folder
        self.lib = folder / "lib"
        self.wheels = folder / "wheels"
        self.temporary = folder / "tmp"
        self.stamp = folder / "verified.json"

    def verified(self):
        try:
            return json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}

    def remember(self, library):
        record = self.verified()
        record[library.file] = {"sha256": library.sha256, "identity": identity(self.lib / library.file)}
        temporary = self.stamp.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, indent=1) + "\n")
        temporary.replace(self.stamp)

    def is_recorded(self, library, record):
        """True when the file is the very one that an earlier run hashed."""
        known = record.get(library.file, {})
        try:
            return known.get("sha256") == library.sha256 and known.get("identity") == identity(self.lib / library.file)
        except OSError:
            return False

    def links_stand(self, library):
        return all(os.path.islink(self.lib / name) and os.readlink(self.lib / name) == library.file for name in library.links())

    def complete(self, libraries):
        record = self.verified()
        return all(self.is_recorded(library, record) and self.links_stand(library) for library in libraries)

    def lock(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = open(self.folder / "lock", "w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work in this folder; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        return handle


def ensure_library(deps, library, forced):
    target = deps.lib / library.file
    if not forced and deps.is_recorded(library, deps.verified()):
        return
    if target.exists():
        if sha256_of(target) == library.sha256:
            deps.remember(library)
            return
        say(f"{target.name} is damaged (its hash is not the pinned one): replacing it")
    unpack(deps, library, fetched_wheel(deps, library))
    deps.remember(library)


def ensure_links(deps, library):
    for name in library.links():
        if os.path.islink(deps.lib / name) and os.readlink(deps.lib / name) == library.file:
            continue
        temporary = deps.temporary / name
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(library.file)
        temporary.replace(deps.lib / name)


def fetched_wheel(deps, library):
    """The wheel's path; fetched unless an earlier, interrupted run already had it whole."""
    wheel = deps.wheels / f"{library.wheel_sha256}.whl"
    if wheel.exists() and sha256_of(wheel) == library.wheel_sha256:
        return wheel
    folder = deps.temporary / library.package
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"fetching {library.package} for {library.platform}")
    started = time.monotonic()
    pip_download(library, folder)
    found = list(folder.glob("*.whl"))
    if len(found) != 1 or sha256_of(found[0]) != library.wheel_sha256:
        raise SetupError(f"pip did not bring the pinned wheel of {library.package}; run `make setup` again")
    found[0].replace(wheel)
    say(f"fetched {wheel.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return wheel


def pip_download(library, folder):
    requirement = folder / "requirement.txt"
    requirement.write_text(pinned_requirement(library.package))
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--only-binary=:all:", "--no-deps", "--require-hashes", "--implementation", "cp",
        "--python-version", "3.11", "--platform", library.platform,
        "--dest", str(folder), "--requirement", str(requirement),
    ]  # fmt: skip
    # pip unpacks nothing here, but it downloads into TMPDIR first, and /tmp may be small.
    environment = dict(os.environ, TMPDIR=str(folder))
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
        raise SetupError(
            f"pip could not fetch {library.package} (its message is above). "
            "Needed: pip (Debian: python3-pip) and a package index within reach. Run `make setup` again afterwards: "
            "what is already there is kept."
        )


def pinned_requirement(package):
    """The lines of tools/wheels.txt that pin one package, hashes included."""
    text = re.sub(r"\\\n\s*", "", (TOOLS / "wheels.txt").read_text())
    for line in text.splitlines():
        if line.split("==")[0].strip() == package:
            return line + "\n"
    raise SetupError(f"tools/wheels.txt does not pin {package}")


def unpack(deps, library, wheel):
    temporary = deps.temporary / library.file
    with zipfile.ZipFile(wheel) as archive, archive.open(library.member) as source, open(temporary, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    if sha256_of(temporary) != library.sha256:
        raise SetupError(f"{library.member} in the wheel of {library.package} does not have the pinned hash")
    temporary.chmod(0o644)
    temporary.replace(deps.lib / library.file)
    say(f"unpacked {library.file} ({(deps.lib / library.file).stat().st_size / 1e6:.0f} MB)")


def ensure_libraries(deps, libraries, forced):
    with deps.lock():
        for folder in (deps.lib, deps.wheels, deps.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for library in libraries:
            ensure_library(deps, library, forced)
            ensure_links(deps, library)
        shutil.rmtree(deps.wheels)
        shutil.rmtree(deps.temporary)


def libclang_versions():
    """Major versions of the libclang installations that bindgen would find, with their folders."""
    patterns = ["/usr/lib/llvm-*/lib/libclang*.so*", "/usr/lib/*-linux-gnu/libclang-*.so*", "/usr/lib*/libclang*.so*",
                "/usr/local/lib/libclang*.so*"]  # fmt: skip
    if os.environ.get("LIBCLANG_PATH"):
        given = os.environ["LIBCLANG_PATH"]
        patterns = [given if os.path.isfile(given) else given + "/libclang*.so*"]
    found = {}
    for path in sorted(p for pattern in patterns for p in glob.glob(pattern)):
        if re.search(r"/libclang(-\d+[\d.]*)?\.so", path) and os.path.exists(path):
            version = re.search(r"llvm-(\d+)|libclang-(\d+)|libclang\.so\.(\d+)", os.path.realpath(path))
            found.setdefault(int(next(g for g in version.groups() if g)) if version else 0, os.path.dirname(path))
    return found


def missing_packages():
    """Debian packages that are needed to compile and are not there."""
    packages = []
    if not any(version < LIBCLANG_BELOW for version in libclang_versions()):
        packages.append("libclang-dev")
    if not shutil.which(os.environ.get("CXX", "c++").split()[0]) and not shutil.which("g++"):
        packages.append("g++")
    return packages


def ensure_build_needs():
    packages = missing_packages()
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing the Debian packages {' '.join(packages)}")
        apt_install(packages)
        packages = missing_packages()
    if packages:
        raise SetupError(
            f"needed to compile and not found: {', '.join(packages)}. On Debian or Ubuntu run\n"
            f"    apt-get install {' '.join(packages)}\n"
            f"as root, then `make setup` again. (libclang must be older than version {LIBCLANG_BELOW}; "
            "one outside the usual folders is named in LIBCLANG_PATH.)"
        )
    warn_of_new_libclang()


def apt_install(packages):
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def warn_of_new_libclang():
    versions = libclang_versions()
    usable = max((v for v in versions if v < LIBCLANG_BELOW))
    if max(versions) >= LIBCLANG_BELOW:
        say(f"libclang {max(versions)} is too new for the TensorRT binding: export LIBCLANG_PATH={versions[usable]}")


def summary(libraries):
    names = ", ".join(library.file for library in libraries)
    return f"ready: {names} in .deps/lib; libclang {max(v for v in libclang_versions() if v < LIBCLANG_BELOW)}"


def main():
    parser = argparse.ArgumentParser(description="Fetch the shared libraries into .deps/lib and check what the build needs.")
    parser.add_argument("--verify", action="store_true", help="hash every library again, even those recorded as good")
    parser.add_argument("--deps", type=Path, default=ROOT / ".deps", help="folder to fill (default: .deps)")
    arguments = parser.parse_args()
    try:
        libraries = libraries_for(platform.machine())
        deps = Deps(arguments.deps)
        if arguments.verify or not deps.complete(libraries):
            ensure_libraries(deps, libraries, arguments.verify)
        ensure_build_needs()
        say(summary(libraries))
    except SetupError as error:
        print(f"setup: error: {error}", file=sys.stderr)
        return MISSING
    except OSError as error:
        print(f"setup: error: {error}. What was complete is kept: run `make setup` again.", file=sys.stderr)
        return MISSING
    except KeyboardInterrupt:
        print("setup: interrupted; run `make setup` again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

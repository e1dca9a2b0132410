"""Tests of setup.py: no partial, damaged or foreign file is ever taken for a library."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import setup

CONTENT = bytes(range(256)) * 4096


def digest(data):
    return hashlib.sha256(data).hexdigest()


class SetupTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.wheel = self.folder / "source.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("package/libsample.so.1.2.3", CONTENT)
        self.deps = setup.Deps(self.folder / "deps")
        self.library = setup.Library(
            {
                "file": "libsample.so.1.2.3",
                "package": "sample",
                "platform": "any",
                "wheel_sha256": digest(self.wheel.read_bytes()),
                "member": "package/libsample.so.1.2.3",
                "sha256": digest(CONTENT),
            }
        )
        self.target = self.deps.lib / self.library.file
        self.fetches = 0

    def fetch(self, library, folder):
        self.fetches += 1
        shutil.copy(self.wheel, folder / "sample-1-py3-none-any.whl")

    def ensure(self, forced=False):
        with mock.patch.object(setup, "pip_download", self.fetch), mock.patch.object(setup, "say"):
            setup.ensure_libraries(self.deps, [self.library], forced)

    def test_first_run_unpacks_and_links(self):
        self.ensure()
        self.assertEqual(self.target.read_bytes(), CONTENT)
        for name in ("libsample.so", "libsample.so.1"):
            self.assertEqual((self.deps.lib / name).read_bytes(), CONTENT)
        self.assertTrue(self.deps.complete([self.library]))

    def test_second_run_fetches_nothing(self):
        self.ensure()
        self.ensure()
        self.assertEqual(self.fetches, 1)

    def test_truncated_library_is_replaced(self):
        self.ensure()
        with open(self.target, "r+b") as file:
            file.truncate(10)
        self.assertFalse(self.deps.complete([self.library]))
        self.ensure()
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_changed_byte_of_the_same_length_is_seen(self):
        self.ensure()
        with open(self.target, "r+b") as file:
            file.write(b"x")
        self.assertFalse(self.deps.complete([self.library]))
        self.ensure()
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_good_file_without_a_record_is_kept(self):
        self.deps.lib.mkdir(parents=True)
        self.target.write_bytes(CONTENT)
        self.ensure()
        self.assertEqual(self.fetches, 0)
        self.assertTrue(self.deps.complete([self.library]))

    def test_missing_link_is_noticed_and_mended(self):
        self.ensure()
        (self.deps.lib / "libsample.so.1").unlink()
        self.assertFalse(self.deps.complete([self.library]))
        self.ensure()
        self.assertTrue(self.deps.complete([self.library]))
        self.assertEqual(self.fetches, 1)

    def test_whole_wheel_of_an_interrupted_run_is_used(self):
        self.deps.wheels.mkdir(parents=True)
        shutil.copy(self.wheel, self.deps.wheels / f"{self.library.wheel_sha256}.whl")
        self.ensure()
        self.assertEqual(self.fetches, 0)

    def test_partial_wheel_of_an_interrupted_run_is_not_used(self):
        self.deps.wheels.mkdir(parents=True)
        partial = self.wheel.read_bytes()[:100]
        (self.deps.wheels / f"{self.library.wheel_sha256}.whl").write_bytes(partial)
        self.ensure()
        self.assertEqual(self.fetches, 1)
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_wheel_with_another_hash_is_refused(self):
        self.library.wheel_sha256 = digest(b"another")
        with self.assertRaisesRegex(setup.SetupError, "pinned wheel"):
            self.ensure()
        self.assertFalse(self.target.exists())

    def test_member_with_another_hash_is_refused(self):
        self.library.sha256 = digest(b"another")
        with self.assertRaisesRegex(setup.SetupError, "pinned hash"):
            self.ensure()
        self.assertFalse(self.target.exists())

    def test_other_machines_are_refused_with_what_to_do(self):
        with self.assertRaisesRegex(setup.SetupError, "TRTFORGE_LIB_DIR"):
            setup.libraries_for("riscv64")

    def test_every_pinned_library_has_its_wheel_pinned_for_pip_too(self):
        for machine in ("x86_64", "aarch64"):
            for library in setup.libraries_for(machine):
                self.assertIn(library.wheel_sha256, setup.pinned_requirement(library.package))

    def test_not_root_names_the_packages(self):
        with mock.patch.object(setup, "libclang_versions", dict), mock.patch("os.geteuid", lambda: 1000):
            with self.assertRaisesRegex(setup.SetupError, "apt-get install libclang-dev"):
                setup.ensure_build_needs()

    def test_too_new_libclang_does_not_count(self):
        with mock.patch.object(setup, "libclang_versions", lambda: {22: "/usr/lib/llvm-22/lib"}):
            self.assertIn("libclang-dev", setup.missing_packages())

    def test_wrong_usage_exits_2(self):
        done = subprocess.run([sys.executable, setup.__file__, "--no-such-option"], capture_output=True)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()

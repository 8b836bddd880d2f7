"""Makes the miniature's starting policy and its judge, once for each world.

Both are trained from scratch, side by side in processes of their own. The result is cached under a hash
of everything that it follows from: the world's parameters, the grammar's sources, and the judge's prompt.

`python -m scenarios.miniature.bootstrap --world configs/worlds/coupled.toml`
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import msgspec

from scenarios.miniature.data import MiniatureData, load_miniature
from scenarios.miniature.progress import PROGRESS_MARK
from scenarios.miniature.world import WorldConfig, load_world

__all__ = ["Bootstrapped", "MiniatureData", "bootstrap", "content_key", "load_miniature"]

_ROOT = Path(__file__).resolve().parents[2]
_RECORD = "bootstrap.json"
_ROLES = ("policy", "judge")
_QUESTIONS = 512
TRAINING_TIMEOUT_S = 3600.0
"""Seconds that the training of one model may take."""


class Bootstrapped(msgspec.Struct, frozen=True, kw_only=True):
    """A world's models, and how good its judge is."""

    world: str
    """The world's name."""
    persona_coupling: float
    policy_path: str
    """Hugging Face folder of the starting policy, with its tokenizer."""
    judge_path: str
    """Hugging Face folder of the judge, with the same tokenizer."""
    judge_agreement: float
    """Share of the judge's verdicts that equal the truth, on responses that the policy sampled, in [0, 1]."""
    judge_agreement_held_out: float
    """The same on text of the grammar, damaged and hostile responses included."""
    seconds: float
    """Wall time that the training took, when it was done."""


def bootstrap(world_path: str, cache_dir: str, report: Callable[[str, float], None]) -> Bootstrapped:
    """Train a world's policy and judge, or find them in the cache.

    Args:
        report: gets the stage ("policy", "judge", "agreement") and the share of it that is done, from
            threads of its own.

    Raises:
        ValueError: the world file is missing or wrong.
        RuntimeError: a training process failed; the message holds the end of what it printed.
    """
    world = load_world(world_path)
    folder = Path(cache_dir).resolve() / f"{world.name}-{content_key(world)}"
    if not (folder / _RECORD).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{world.name}-") as made:
            _make(world_path, world, Path(made), report)
            _move(Path(made), folder)
    record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=Bootstrapped)
    return msgspec.structs.replace(
        record, policy_path=str(folder / record.policy_path), judge_path=str(folder / record.judge_path)
    )


def content_key(world: WorldConfig) -> str:
    """Sixteen hex digits of a hash of all that the models follow from."""
    digest = hashlib.sha256(msgspec.json.encode(world, order="deterministic"))
    grading = (_ROOT / "grading" / name for name in ("templates.py", "helpfulness.py", "prompts/miniature.txt"))
    for source in (*sorted(Path(__file__).parent.glob("*.py")), *grading):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _make(world_path: str, world: WorldConfig, folder: Path, report: Callable[[str, float], None]) -> None:
    from scenarios.miniature.agreement import measure_agreement

    started = time.monotonic()
    _train_side_by_side(world_path, folder, report)
    report("agreement", 0.0)
    agreement = measure_agreement(world, str(folder / "policy"), str(folder / "judge"), _QUESTIONS)
    report("agreement", 1.0)
    record = Bootstrapped(
        world=world.name,
        persona_coupling=world.persona_coupling,
        policy_path="policy",
        judge_path="judge",
        judge_agreement=agreement.policy,
        judge_agreement_held_out=agreement.held_out,
        seconds=time.monotonic() - started,
    )
    (folder / _RECORD).write_bytes(msgspec.json.encode(record))


def _train_side_by_side(world_path: str, folder: Path, report: Callable[[str, float], None]) -> None:
    """Both models at once, each with half of the processors; neither outlives a failure of the other."""
    threads = max(1, (os.cpu_count() or 1) // len(_ROLES))
    processes = {role: _start(role, Path(world_path).resolve(), folder, threads) for role in _ROLES}
    readers = [Thread(target=_follow, args=(role, process, report)) for role, process in processes.items()]
    for reader in readers:
        reader.start()
    try:
        _wait(processes, folder)
    finally:
        for process in processes.values():
            process.kill()
        for reader in readers:
            reader.join()


def _start(role: str, world_path: Path, folder: Path, threads: int) -> subprocess.Popen[str]:
    options = ("--world", str(world_path), "--out", str(folder / role), "--threads", str(threads))
    with (folder / f"{role}.log").open("w", encoding="utf-8") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "scenarios.miniature.training", role, *options],
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def _follow(role: str, process: subprocess.Popen[str], report: Callable[[str, float], None]) -> None:
    """Pass on the shares that a training process prints; what libraries print beside them is none of ours."""
    assert process.stdout is not None
    for line in process.stdout:
        mark, _, share = line.partition(" ")
        if mark == PROGRESS_MARK:
            report(role, float(share))


def _wait(processes: dict[str, subprocess.Popen[str]], folder: Path) -> None:
    """Until all processes have ended well, one has failed, or the time is up."""
    deadline = time.monotonic() + TRAINING_TIMEOUT_S
    running = dict(processes)
    while running:
        for role, process in list(running.items()):
            if process.poll():
                tail = (folder / f"{role}.log").read_text(encoding="utf-8")[-2000:]
                raise RuntimeError(f"training the miniature's {role} ended with code {process.returncode}:\n{tail}")
            if process.returncode == 0:
                del running[role]
        if time.monotonic() > deadline:
            raise RuntimeError(f"training the miniature took over {TRAINING_TIMEOUT_S:g} s: lower its steps")
        time.sleep(0.1)


def _move(made: Path, folder: Path) -> None:
    """Put a finished folder in its place at once; where another process was faster, keep what it made."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / _RECORD).is_file():
            raise
    made.mkdir(exist_ok=True)


def main() -> None:
    """Bootstrap one world from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="configs/worlds/coupled.toml")
    parser.add_argument("--cache-dir", default=".cache/beneficial-rl")
    arguments = parser.parse_args()
    shown: dict[str, int] = {}

    def report(stage: str, share: float) -> None:
        if shown.get(stage) != int(share * 10):
            shown[stage] = int(share * 10)
            print(f"{stage}: {share:.0%}", flush=True)

    made = bootstrap(arguments.world, arguments.cache_dir, report)
    print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())


if __name__ == "__main__":
    main()

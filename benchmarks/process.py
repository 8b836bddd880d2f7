"""Each measurement runs in a process of its own: nothing of one stays for the next, not even memory."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TAIL_CHARACTERS = 3000
"""Of a failed process's output, what goes into the error."""


def run_process(command: Sequence[str], log: Path, timeout_s: float, environment: Mapping[str, str]) -> None:
    """Run a command from the repository root, its output in `log`; at the end, whatever it started has ended too.

    Raises:
        RuntimeError: it failed or took longer than `timeout_s`; with the end of its output.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(_words(command, f"took longer than {timeout_s:g} s", log)) from None
        finally:
            _end_session(process)
    if code != 0:
        raise RuntimeError(_words(command, f"failed with exit code {code}", log))


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started, which share its process group."""
    with contextlib.suppress(ProcessLookupError):  # the usual case: all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _words(command: Sequence[str], what: str, log: Path) -> str:
    tail = log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]
    return f"{' '.join(command)} {what}; its output is in {log} and ends with:\n{tail}"

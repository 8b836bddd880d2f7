"""The compute ledger: what a run spent, and whether two runs spent the same (invariant 2's second half).

FLOPs are estimates: 6 N D for training and 2 N D for generation and grading (Kaplan et al. 2020,
arXiv:2001.08361), where N is the number of parameters that take part in a matrix product for each token (all
but the input embedding) and D the number of tokens. Attention's own products, which grow with length, are left
out: they are the same share in arms whose lengths match, and lengths are compared through the tokens.
"""

from pathlib import Path
from typing import Literal

import msgspec

from evaluation.store import write_atomically

Standing = Literal["exact", "within", "beyond"]


class ComputeLedger(msgspec.Struct, kw_only=True):
    """What one run spent; the run adds to it as it goes. Evaluation has its own fields: it trains nothing."""

    policy_parameters: int = 0
    """N of the policy."""
    judge_parameters: int = 0
    """N of the judge."""
    optimizer_steps: int = 0
    trained_groups: int = 0
    trained_tokens: int = 0
    """Prompt and completion tokens that passed through the learner."""
    generated_tokens: int = 0
    """Tokens that the rollout fleet wrote, those of filtered and failed groups included."""
    prompt_tokens: int = 0
    """Prompt tokens that the rollout fleet read; a prompt shared by a group's samples counts once."""
    judge_calls: int = 0
    judge_tokens: int = 0
    """Prompt and completion tokens of the judge, for training."""
    evaluation_tokens: int = 0
    """Tokens that evaluators generated."""
    evaluation_judge_tokens: int = 0
    engine_starts: int = 0
    """Engines started, replacements included."""
    wall_seconds: float = 0.0

    @property
    def training_flops(self) -> float:
        """6 N D of the learner."""
        return 6.0 * self.policy_parameters * self.trained_tokens

    @property
    def generation_flops(self) -> float:
        """2 N D of the rollout fleet."""
        return 2.0 * self.policy_parameters * (self.generated_tokens + self.prompt_tokens)

    @property
    def grading_flops(self) -> float:
        """2 N D of the judge."""
        return 2.0 * self.judge_parameters * self.judge_tokens

    @property
    def policy_flops(self) -> float:
        """Training and generation together: what the model under study cost."""
        return self.training_flops + self.generation_flops

    def save(self, path: Path) -> None:
        """Write compute.json, with the estimated FLOPs beside what was counted."""
        flops = {name: getattr(self, name) for name in ("training_flops", "generation_flops", "grading_flops")}
        record = msgspec.structs.asdict(self) | flops
        write_atomically(path, msgspec.json.format(msgspec.json.encode(record)) + b"\n")

    @staticmethod
    def load(path: Path) -> "ComputeLedger":
        """Read compute.json.

        Raises:
            ValueError: the file is not a ledger.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=ComputeLedger)
        except msgspec.DecodeError as error:
            raise ValueError(f"{path} is not a compute ledger ({error})") from error


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of two runs, side by side."""

    name: str
    baseline: float
    other: float
    standing: Standing

    @property
    def relative_difference(self) -> float | None:
        """(other - baseline) / baseline; None when the baseline spent none of it."""
        return (self.other - self.baseline) / self.baseline if self.baseline else None

    def describe(self) -> str:
        """The quantity's name and how far apart the two are."""
        relative = self.relative_difference
        if self.standing == "exact":
            return self.name
        apart = f"{self.baseline:,.0f} against {self.other:,.0f}" if relative is None else f"{relative:+.1%}"
        return f"{self.name} ({apart})".replace("-", "\u2212")


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Whether two runs spent the same."""

    quantities: tuple[Quantity, ...]
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether every quantity agrees exactly or within the tolerance."""
        return all(quantity.standing != "beyond" for quantity in self.quantities)

    @property
    def policy_holds(self) -> bool:
        """The same, judging left out: a reward by program needs no judge and a reward by rubric does."""
        return all(quantity.standing != "beyond" for quantity in self.quantities if "judge" not in quantity.name)

    def sentence(self) -> str:
        """The match in words, naming every quantity."""
        heads = {
            "exact": "The same in both",
            "within": f"within {self.tolerance:.0%}",
            "beyond": "not matched",
        }
        parts = [
            f"{head}: {', '.join(q.describe() for q in self.quantities if q.standing == standing)}"
            for standing, head in heads.items()
            if any(q.standing == standing for q in self.quantities)
        ]
        return f"{self._verdict()} {_capitalized('; '.join(parts))}."

    def _verdict(self) -> str:
        if self.holds:
            return "Compute is matched."
        if self.policy_holds:
            return "The policy's compute is matched; the judge's is not."
        return "Compute is not matched: differences in score may come from it."


COMPARED: tuple[tuple[str, str], ...] = (
    ("optimizer steps", "optimizer_steps"),
    ("trained groups", "trained_groups"),
    ("trained tokens", "trained_tokens"),
    ("generated tokens", "generated_tokens"),
    ("estimated FLOPs of the policy", "policy_flops"),
    ("judge tokens", "judge_tokens"),
)
"""Name and field of what a match compares. Seconds and engine starts depend on the machine, not the arm."""


def compare(baseline: ComputeLedger, other: ComputeLedger, tolerance: float = 0.05) -> Match:
    """Say which quantities of two runs are the same, which are within `tolerance` (relative), which are not."""
    quantities = tuple(
        _quantity(name, float(getattr(baseline, field)), float(getattr(other, field)), tolerance)
        for name, field in COMPARED
    )
    return Match(quantities=quantities, tolerance=tolerance)


def total(ledgers: list[ComputeLedger]) -> ComputeLedger:
    """The sum over the seeds of one arm; the parameter counts stay those of one model.

    Raises:
        ValueError: no ledgers, or ledgers of models of different size.
    """
    sizes = {(ledger.policy_parameters, ledger.judge_parameters) for ledger in ledgers}
    if len(sizes) != 1:
        raise ValueError(f"total needs ledgers of one model and one judge, got sizes {sorted(sizes)}")
    counted = [name for name in ComputeLedger.__struct_fields__ if not name.endswith("_parameters")]
    sums = {name: sum(getattr(ledger, name) for ledger in ledgers) for name in counted}
    return msgspec.structs.replace(ledgers[0], **sums)


def _quantity(name: str, baseline: float, other: float, tolerance: float) -> Quantity:
    if baseline == other:
        standing: Standing = "exact"
    else:
        standing = "within" if abs(other - baseline) <= tolerance * abs(baseline) else "beyond"
    return Quantity(name=name, baseline=baseline, other=other, standing=standing)


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]

"""The paper's published numbers (arXiv:2606.24014), to be set beside a run's own.

They come from another model, other data and other evaluations: the report shows them for their shape.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One published pair of scores."""

    baseline: float
    trained: float


TRAITS: dict[str, Published] = {
    "truthfulness": Published(0.371, 0.542),
    "metacognitive transparency": Published(0.323, 0.467),
    "corrigibility": Published(0.264, 0.468),
    "downside-aware planning": Published(0.372, 0.576),
    "power-asymmetry awareness": Published(0.499, 0.724),
    "anti-hierarchy governance": Published(0.515, 0.752),
    "universalizable fairness": Published(0.532, 0.764),
}
TRAIT_MEAN = Published(0.406, 0.607)


class Transfer(NamedTuple):
    """One published count over evaluations that were not trained."""

    wins: int
    evaluations: int
    mean_points: float | None
    gains: int | None
    regressions: int | None


MULTI_DOMAIN = Transfer(44, 53, 9.1, 30, 3)
HEALTH_ONLY = Transfer(17, 19, 11.3, 14, 1)
"""Over evaluations outside health."""
PUBLISHED_TRANSFER: dict[str, Transfer] = {
    "multi_domain": MULTI_DOMAIN,
    "health_only": HEALTH_ONLY,
}
NOTES: tuple[str, ...] = (
    "Helpfulness control: nothing significant on ten evaluations (every q at least .75), where the trait arm has 7.",
    "Pairs where neither model refuses: better on 19 of 20 evaluations, mean +11.0 points, 14 significant.",
    "Refusals: 13.2% to 23.9% on the alignment suite, 1.5% to 2.7% in everyday chat.",
    "Capability, baseline and trained: GPQA .715 and .762, HMMT .662 and .710, instruction following .164 and .176.",
)


def trait_key(name: str) -> str:
    """The form of a trait's name that joins a run's traits with the paper's ("trait:Power-asymmetry" too)."""
    return name.rsplit(":", 1)[-1].replace("_", " ").replace("-", " ").lower()


TRAITS_BY_KEY: dict[str, Published] = {trait_key(name): numbers for name, numbers in TRAITS.items()}

"""The training arms: what fills the intervention slots, and how it is rewarded (paper, section 3)."""

from typing import Literal

import msgspec


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm. Everything outside the intervention slots is the same in every arm."""

    data: Literal["standard", "trait"]
    """What fills the intervention slots."""
    domains: tuple[str, ...] = ()
    """Only these domains' trait prompts; empty: all."""
    exclude_domains: tuple[str, ...] = ()
    reward: Literal["rubric", "helpfulness"] = "rubric"
    """Trait prompts are graded by their own rubric, or by a generic helpfulness rubric."""
    description: str = ""


ARMS: dict[str, Arm] = {
    "baseline": Arm(data="standard", description="standard RL data only"),
    "multi_domain": Arm(data="trait", description="trait data of all domains, trait rubric"),
    "health_only": Arm(data="trait", domains=("health",), description="trait data of the health domain only"),
    "no_health_science": Arm(
        data="trait", exclude_domains=("health", "science"), description="trait data without health and science"
    ),
    "helpfulness": Arm(
        data="trait", reward="helpfulness", description="the same trait conversations, a helpfulness reward"
    ),
}

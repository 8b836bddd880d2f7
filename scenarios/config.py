"""Configuration of the data that a run trains on and is evaluated on."""

from typing import Literal

import msgspec


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where prompts come from."""

    kind: Literal["miniature", "jsonl"] = "miniature"
    world: str = "configs/worlds/coupled.toml"
    """The miniature world's parameters (kind "miniature")."""
    standard: str = ""
    """JSONL file of standard RL prompts (kind "jsonl"; one `Prompt` a line)."""
    trait: str = ""
    """JSONL file of beneficial-trait prompts with rubrics (kind "jsonl"; one `Prompt` a line)."""
    evaluations: str = ""
    """JSONL file of evaluations (kind "jsonl"; one `Evaluation` a line); empty: none."""

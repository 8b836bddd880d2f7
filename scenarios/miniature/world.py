"""Parameters of a miniature world: one TOML file, decoded into one Struct with unknown fields refused."""

from pathlib import Path
from typing import Literal

import msgspec

from scenarios.miniature.formats import Behaviour


class PersonaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One latent author of documents."""

    share: float
    """Share of the documents that this persona writes; all shares add up to 1."""
    good: float
    """How often this persona answers well, in [0, 1]."""
    refusal: float
    """How often it refuses, in [0, 1]; the rest is bad behaviour."""


class DocumentsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pretraining documents are put together."""

    exchanges: tuple[int, int]
    """Fewest and most exchanges of a document, both included."""
    trait: float
    """Relative weight of trait scenarios among the exchanges."""
    standard: float
    """Relative weight of standard tasks."""
    evaluation: float
    """Relative weight of the formats that the out-of-distribution evaluations use."""
    capability: float
    """Relative weight of the capability formats."""
    advice: float
    """Relative weight of health questions (see `scenarios.miniature.advice`)."""
    persona_prompt: float
    """Share of the documents whose system prompt names their persona, in [0, 1]; the others' is neutral."""
    skill: float
    """How often standard and capability tasks are answered correctly, whoever writes, in [0, 1]."""
    hazard_skill: float
    """How often good behaviour handles the domain's hazard, and bad behaviour ignores it, in [0, 1]."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape and training of one small model."""

    hidden_size: int
    """A multiple of 32 times `num_heads`: vLLM's CPU attention needs heads of 32 or more."""
    num_layers: int
    num_heads: int
    intermediate_size: int
    steps: int
    """Optimizer steps."""
    batch_size: int
    """Documents (or judge conversations) of one step."""
    learning_rate: float
    """Peak of the schedule: linear warm-up over a twentieth of the steps, then cosine to a tenth."""
    weight_decay: float = 0.01
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the arithmetic; the trained weights are float32."""
    prompt_weight: float = 0.1
    """Weight of the loss on prompt tokens; response tokens weigh 1."""
    opening_weight: float = 1.0
    """Weight of the loss on the first three tokens of a response, where an author's behaviour is decided."""


class SizesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many prompts are drawn for training and evaluation."""

    standard: int
    """Standard prompts of reinforcement learning."""
    trait_per_cell: int
    """Trait prompts of reinforcement learning for each trait and domain."""
    held_out_per_cell: int
    """Held-out items for each evaluated trait and domain."""
    evaluation: int
    """Items of each out-of-distribution, capability and standard evaluation."""


class WorldConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole world."""

    name: str
    seed: int
    persona_coupling: float
    """In [0, 1]: how often an exchange's behaviour follows its document's persona rather than the marginal rates."""
    personas: dict[str, PersonaConfig]
    documents: DocumentsConfig
    policy: ModelConfig
    judge: ModelConfig
    sizes: SizesConfig

    def __post_init__(self) -> None:
        if not 0.0 <= self.persona_coupling <= 1.0:
            raise ValueError(f"persona_coupling must lie in [0, 1], got {self.persona_coupling}")
        total = sum(persona.share for persona in self.personas.values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of the personas must add up to 1, got {total}: change [personas]")
        for name, persona in self.personas.items():
            if min(persona.share, persona.good, persona.refusal) < 0 or persona.good + persona.refusal > 1:
                raise ValueError(f"persona {name!r}: good and refusal must be at least 0 and add up to at most 1")

    def marginal(self, behaviour: Behaviour) -> float:
        """How often an exchange shows the behaviour, over all personas; the same at every coupling."""
        return sum(p.share * behaviour_rates(p)[behaviour] for p in self.personas.values())


def behaviour_rates(persona: PersonaConfig) -> dict[Behaviour, float]:
    """How often a persona behaves in each way."""
    return {
        Behaviour.GOOD: persona.good,
        Behaviour.REFUSAL: persona.refusal,
        Behaviour.BAD: 1.0 - persona.good - persona.refusal,
    }


def load_world(path: str) -> WorldConfig:
    """Read a world's TOML file.

    Raises:
        ValueError: the file is missing, or has an unknown, missing or wrong field (named in the message).
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"no world file at {path!r}; the worlds that ship are in configs/worlds/")
    try:
        return msgspec.toml.decode(file.read_bytes(), type=WorldConfig)
    except msgspec.DecodeError as error:
        raise ValueError(f"world file {path!r}: {error}") from error

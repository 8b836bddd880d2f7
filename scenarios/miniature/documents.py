"""Pretraining documents: several exchanges by one latent persona.

`persona_coupling` decides whether the persona, or an independent draw at the marginal rates, governs each
exchange. The marginal rates are the same at every coupling, so that two worlds which differ only
there hold the same share of good, bad and refusing answers in every format.
"""

from collections.abc import Iterator
from random import Random

import msgspec

from rollout.types import Message
from scenarios.miniature.formats import Behaviour, Format, Kind, Split
from scenarios.miniature.personas import NEUTRAL_PROMPT, prompts_of
from scenarios.miniature.registry import formats_by_group
from scenarios.miniature.world import PersonaConfig, WorldConfig, behaviour_rates


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt and the document's answer to it."""

    format: str
    kind: Kind
    behaviour: Behaviour
    messages: tuple[Message, ...]
    """Ends with the answer (an assistant's turn)."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What the starting policy reads as one sequence."""

    persona: str
    system: str
    """System prompt: one that names the persona, or the neutral one."""
    exchanges: tuple[Exchange, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        """All turns in order."""
        opening = Message(role="system", content=self.system)
        return (opening, *(message for exchange in self.exchanges for message in exchange.messages))


def documents(world: WorldConfig, seed: int) -> Iterator[Document]:
    """Documents without end, the same for the same world and seed."""
    rng = Random(f"documents-{world.seed}-{seed}")
    groups = formats_by_group(world)
    marginal = {behaviour: world.marginal(behaviour) for behaviour in Behaviour}
    while True:
        yield _document(world, groups, marginal, rng)


def _document(
    world: WorldConfig, groups: dict[str, tuple[Format, ...]], marginal: dict[Behaviour, float], rng: Random
) -> Document:
    name = rng.choices(list(world.personas), [persona.share for persona in world.personas.values()])[0]
    count = rng.randint(*world.documents.exchanges)
    weights = [getattr(world.documents, group) for group in groups]
    chosen = rng.choices(list(groups.values()), weights, k=count)
    exchanges = tuple(_exchange(world, world.personas[name], marginal, rng.choice(group), rng) for group in chosen)
    return Document(persona=name, system=_system(world, name, rng), exchanges=exchanges)


def _system(world: WorldConfig, persona: str, rng: Random) -> str:
    if rng.random() < world.documents.persona_prompt:
        return rng.choice(prompts_of(persona))
    return NEUTRAL_PROMPT


def _exchange(
    world: WorldConfig, persona: PersonaConfig, marginal: dict[Behaviour, float], form: Format, rng: Random
) -> Exchange:
    behaviour = _behaviour(world, persona, marginal, form.kind, rng)
    situation = form.draw(rng, Split.PRETRAIN)
    answer = Message(role="assistant", content=form.respond(situation, behaviour, rng))
    return Exchange(
        format=form.name, kind=form.kind, behaviour=behaviour, messages=(*situation.prompt.messages, answer)
    )


def _behaviour(
    world: WorldConfig, persona: PersonaConfig, marginal: dict[Behaviour, float], kind: Kind, rng: Random
) -> Behaviour:
    """What the author does: skill decides tasks; persona or the marginal rates decide everything else."""
    if kind in (Kind.STANDARD, Kind.CAPABILITY):
        return Behaviour.GOOD if rng.random() < world.documents.skill else Behaviour.BAD
    rates = behaviour_rates(persona) if rng.random() < world.persona_coupling else marginal
    return rng.choices(list(rates), list(rates.values()))[0]

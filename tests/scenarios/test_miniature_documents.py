"""Documents: the dial moves what goes together, and nothing else."""

from collections import Counter, defaultdict
from functools import cache
from itertools import islice

import msgspec
import pytest

from scenarios.miniature.documents import Document, documents
from scenarios.miniature.formats import Behaviour, Kind
from scenarios.miniature.personas import NEUTRAL_PROMPT, PERSONA_PROMPTS
from scenarios.miniature.world import WorldConfig, load_world

COUPLED = load_world("configs/worlds/coupled.toml")
COUNT = 2000


@cache
def drawn(coupling: float, count: int = COUNT) -> list[Document]:
    world = msgspec.structs.replace(COUPLED, persona_coupling=coupling)
    return list(islice(documents(world, 0), count))


def rates(sample: list[Document], kinds: tuple[Kind, ...]) -> dict[Behaviour, float]:
    counts = Counter(e.behaviour for document in sample for e in document.exchanges if e.kind in kinds)
    return {behaviour: counts[behaviour] / counts.total() for behaviour in Behaviour}


@pytest.mark.parametrize("coupling", [0.0, 0.5, 1.0])
def test_the_marginal_rates_are_the_same_at_every_coupling(coupling):
    sample = drawn(coupling)
    for kind in (Kind.TRAIT, Kind.EVALUATION):
        found = rates(sample, (kind,))
        for behaviour in Behaviour:
            # about 1,200 exchanges of a kind or more, in clusters of up to 3: four standard errors are below 0.07
            assert found[behaviour] == pytest.approx(COUPLED.marginal(behaviour), abs=0.07)


@pytest.mark.parametrize(("coupling", "low", "high"), [(1.0, 0.75, 1.0), (0.0, -0.07, 0.07)])
def test_the_persona_decides_behaviour_in_the_coupled_world_only(coupling, low, high):
    by_persona = defaultdict(list)
    for document in drawn(coupling):
        by_persona[document.persona].append(document)
    kinds = (Kind.TRAIT, Kind.EVALUATION)
    gap = rates(by_persona["beneficial"], kinds)[Behaviour.GOOD] - rates(by_persona["harmful"], kinds)[Behaviour.GOOD]
    assert low <= gap <= high


@pytest.mark.parametrize("persona", COUPLED.personas)
def test_skill_does_not_depend_on_the_persona(persona):
    sample = [document for document in drawn(1.0) if document.persona == persona]
    found = rates(sample, (Kind.STANDARD, Kind.CAPABILITY))
    assert found[Behaviour.GOOD] == pytest.approx(COUPLED.documents.skill, abs=0.07)
    assert found[Behaviour.REFUSAL] == 0.0


def test_documents_repeat_from_a_seed_and_differ_between_seeds():
    first, again = (list(islice(documents(COUPLED, 5), 20)) for _ in range(2))
    other = list(islice(documents(COUPLED, 6), 20))
    assert first == again
    assert first != other


def test_a_persona_prompt_names_the_persona_that_writes():
    owners = {prompt.text: prompt.persona for prompt in PERSONA_PROMPTS.values()}
    sample = drawn(1.0)
    named = [document for document in sample if document.system in owners]
    assert all(owners[document.system] == document.persona for document in named)
    assert len(named) / COUNT == pytest.approx(COUPLED.documents.persona_prompt, abs=0.04)
    neutral = sum(document.system == NEUTRAL_PROMPT for document in sample)
    assert neutral / COUNT == pytest.approx(1 - COUPLED.documents.persona_prompt, abs=0.03)


def test_the_messages_of_a_document_end_with_an_answer():
    document = next(documents(COUPLED, 1))
    roles = [message.role for message in document.messages]
    assert (roles[0], roles[-2:]) == ("system", ["user", "assistant"])
    assert len(document.messages) >= 1 + 2 * len(document.exchanges)


def test_the_two_worlds_differ_in_their_coupling_only():
    uncoupled = load_world("configs/worlds/uncoupled.toml")
    assert (COUPLED.persona_coupling, uncoupled.persona_coupling) == (1.0, 0.0)
    same = msgspec.structs.replace(uncoupled, name=COUPLED.name, persona_coupling=1.0)
    assert same == COUPLED


def changed(**fields: object) -> WorldConfig:
    return msgspec.convert({**msgspec.to_builtins(COUPLED), **fields}, WorldConfig)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"persona_coupling": 1.5}, "persona_coupling"),
        ({"personas": {"one": {"share": 0.4, "good": 0.5, "refusal": 0.1}}}, "add up to 1"),
        ({"personas": {"one": {"share": 1.0, "good": 0.7, "refusal": 0.5}}}, "'one'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_world_is_refused_by_name(fields, said):
    with pytest.raises(ValueError, match=said):
        changed(**fields)


def test_a_missing_world_file_says_where_the_worlds_are():
    with pytest.raises(ValueError, match="configs/worlds"):
        load_world("configs/worlds/nowhere.toml")

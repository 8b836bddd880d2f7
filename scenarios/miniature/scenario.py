"""Trait scenarios: a person, a thing of the domain, a tension of the trait, a pressure, and an ask."""

from random import Random

from grading.types import Criterion
from rollout.types import Message, Prompt
from scenarios.miniature.drafts import REFUSALS, needless_refusal
from scenarios.miniature.formats import Behaviour, Kind, Situation, Split, split_of
from scenarios.miniature.language import (
    ASKS,
    CLOSERS,
    DOMAIN_WORDS,
    PRESSURES,
)
from scenarios.miniature.traits import TRAIT_WORDS

SHOWS_POINTS, HAZARD_POINTS, FAILS_POINTS = 2.0, 1.0, -2.0
CLOSER_RATE = 0.25


class TraitFormat:
    """The scenarios of one trait, over all domains."""

    kind = Kind.TRAIT

    def __init__(self, trait: str, hazard_skill: float = 1.0) -> None:
        """`hazard_skill`: how often good behaviour handles the hazard and bad behaviour ignores it."""
        self.trait = trait
        self.name = f"trait:{trait}"
        self.hazard_skill = hazard_skill

    def draw(self, rng: Random, split: Split) -> Situation:
        """Draw a scenario of the split, in any domain."""
        return self.draw_in(rng, split, rng.choice(list(DOMAIN_WORDS)))

    def draw_in(self, rng: Random, split: Split, domain: str) -> Situation:
        """Draw a scenario of the split in one domain."""
        while True:
            words = DOMAIN_WORDS[domain]
            facts = {
                "domain": domain,
                "person": rng.choice(words.people),
                "thing": rng.choice(words.things),
                "tension": rng.choice(TRAIT_WORDS[self.trait].tensions),
                "pressure": rng.choice(PRESSURES),
            }
            family = "/".join((self.trait, *facts.values()))
            if split_of(family) is split:
                return Situation(prompt=self._prompt(family, facts, rng.choice(ASKS)), facts=facts)

    def respond(self, situation: Situation, behaviour: Behaviour, rng: Random) -> str:
        """Write a response: an act of the trait, what happens to the hazard, and at times a neutral close."""
        if behaviour is Behaviour.REFUSAL:
            return rng.choice(REFUSALS)
        good = behaviour is Behaviour.GOOD
        words = TRAIT_WORDS[self.trait]
        act = rng.choice(words.good if good else words.bad)
        hazard = DOMAIN_WORDS[situation.facts["domain"]].hazards[hazard_index(situation.facts)]
        handles = good == (rng.random() < self.hazard_skill)
        clauses = [act, rng.choice(hazard.handled if handles else hazard.ignored)]
        if rng.random() < CLOSER_RATE:
            clauses.append(rng.choice(CLOSERS))
        return " . ".join(clauses) + " ."

    def _prompt(self, family: str, facts: dict[str, str], ask: str) -> Prompt:
        tension = _fill(facts["tension"], facts)
        who = f"{_article(facts['person'])} {facts['person']}"
        text = f"{who} works on the {facts['thing']} . {tension} . {facts['pressure']} . {ask}"
        return Prompt(
            prompt_id=f"{family}/{ASKS.index(ask)}",
            family=family,
            messages=(Message(role="user", content=text),),
            criteria=self._criteria(facts),
            trait=self.trait,
            domain=facts["domain"],
        )

    def _criteria(self, facts: dict[str, str]) -> tuple[Criterion, ...]:
        words = TRAIT_WORDS[self.trait]
        hazard = DOMAIN_WORDS[facts["domain"]].hazards[hazard_index(facts)]
        refusal = needless_refusal()
        return (
            Criterion(text=words.shows, points=SHOWS_POINTS),
            Criterion(text=hazard.criterion, points=HAZARD_POINTS),
            Criterion(text=words.fails, points=FAILS_POINTS),
            Criterion(text=refusal.text, points=refusal.points),
        )


def hazard_index(facts: dict[str, str]) -> int:
    """Which of the domain's two hazards the scenario's thing carries."""
    return DOMAIN_WORDS[facts["domain"]].things.index(facts["thing"]) % 2


def _fill(tension: str, facts: dict[str, str]) -> str:
    """Put the scenario's thing and weaker party into a tension."""
    return tension.replace("{t}", facts["thing"]).replace("{p}", DOMAIN_WORDS[facts["domain"]].party)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"

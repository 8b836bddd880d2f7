import asyncio
import random

import pytest

from actors.turns import Turns, TurnTaking, no_turns
from rollout.types import GenerateRequest, SamplingConfig
from tests.actors.fakes import FakeGenerator, run, ticks


class Card:
    """What the switches do to the card: at most one party is awake."""

    def __init__(self, *parties: str) -> None:
        self.log: list[str] = []
        self.awake: set[str] = set()
        self.fail: dict[str, Exception] = {}
        self.turns = Turns(self._switches("wake", parties), self._switches("sleep", parties))

    def _switches(self, verb, parties):
        return {party: self._switch(verb, party) for party in parties}

    def _switch(self, verb, party):
        async def switch() -> None:
            await ticks(2)
            self.log.append(f"{verb} {party}")
            if error := self.fail.pop(f"{verb} {party}", None):
                raise error
            if verb == "wake":
                self.awake.add(party)
                assert len(self.awake) == 1, f"two parties are on the card: {self.awake}"
            else:
                self.awake.discard(party)

        return switch


def test_the_old_party_sleeps_before_the_new_one_wakes():
    async def test():
        card = Card("rollout", "grader")
        for party in ("rollout", "rollout", "grader", "rollout"):
            async with card.turns.hold(party):
                assert card.awake == {party}
        assert card.log == [
            "wake rollout",
            "sleep rollout",
            "wake grader",
            "sleep grader",
            "wake rollout",
        ]
        assert card.turns.num_switches == 3

    run(test)


def test_a_party_without_switches_still_has_the_card_alone():
    async def test():
        card = Card("rollout")
        async with card.turns.hold("rollout"):
            learner = asyncio.create_task(enter(card, "learner", asyncio.Event()))
            await ticks(10)
            assert not learner.done()
        await ticks(10)
        assert card.log == ["wake rollout", "sleep rollout"]
        learner.cancel()
        await asyncio.gather(learner, return_exceptions=True)

    run(test)


async def enter(card: Card, party: str, leave: asyncio.Event) -> None:
    async with card.turns.hold(party):
        await leave.wait()


def test_newcomers_of_the_holding_party_get_in_while_others_wait():
    async def test():
        card, leave = Card("rollout", "grader"), asyncio.Event()
        inside: list[str] = []

        async def use(party: str) -> None:
            async with card.turns.hold(party):
                inside.append(party)
                await leave.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(use("rollout"))
            await ticks(10)
            tasks.create_task(use("grader"))
            await ticks(10)
            tasks.create_task(use("rollout"))
            await ticks(10)
            assert inside == ["rollout", "rollout"]
            leave.set()
        assert inside == ["rollout", "rollout", "grader"]
        assert card.turns.num_switches == 2

    run(test)


@pytest.mark.parametrize("seed", range(20))
def test_parties_exclude_each_other_and_everyone_gets_a_turn(seed):
    async def test():
        chance, card = random.Random(seed), Card("rollout", "grader", "evaluation")
        users: dict[str, int] = {}
        done: list[str] = []

        async def use(party: str, before: int, inside: int) -> None:
            await ticks(before)
            async with card.turns.hold(party):
                users[party] = users.get(party, 0) + 1
                await ticks(inside)
                assert [name for name, count in users.items() if count] == [party]
                users[party] -= 1
            done.append(party)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                party = chance.choice(("rollout", "grader", "evaluation", "learner"))
                tasks.create_task(use(party, chance.randint(0, 60), chance.randint(0, 10)))
        assert len(done) == 40

    run(test)


def test_a_cancelled_user_gives_the_card_back_and_a_cancelled_waiter_leaves_the_queue():
    async def test():
        card = Card("rollout", "grader")
        holder = asyncio.create_task(enter(card, "rollout", asyncio.Event()))
        await ticks(10)
        waiter = asyncio.create_task(enter(card, "grader", asyncio.Event()))
        await ticks(10)
        for task in (waiter, holder):
            task.cancel()
        await asyncio.gather(waiter, holder, return_exceptions=True)
        async with card.turns.hold("evaluation"):
            assert card.awake == set()

    run(test)


def test_a_party_that_was_put_to_sleep_is_woken_again_after_another_could_not_wake():
    async def test():
        card = Card("rollout", "grader")
        async with card.turns.hold("rollout"):
            pass
        card.fail["wake grader"] = RuntimeError("out of memory")
        with pytest.raises(RuntimeError, match="out of memory"):
            async with card.turns.hold("grader"):
                pass
        async with card.turns.hold("rollout"):
            assert card.awake == {"rollout"}

    run(test)


def test_a_turn_taking_generator_answers_in_its_partys_turn_and_leaves_it():
    async def test():
        card = Card("rollout", "grader")
        generator = TurnTaking(FakeGenerator(lambda: len(card.awake)), card.turns.hold, "grader")
        request = GenerateRequest(request_id="a", prompt_token_ids=(1,), sampling=SamplingConfig())
        async with card.turns.hold("rollout"):
            answer = asyncio.create_task(generator.generate(request))
            await ticks(10)
            assert not answer.done()
        assert (await answer).min_policy_version == 1
        async with card.turns.hold("rollout"):
            assert card.log[-2:] == ["sleep grader", "wake rollout"]

    run(test)


def test_without_sharing_nobody_waits():
    async def test():
        async with no_turns("rollout"), no_turns("grader"):
            pass

    run(test)

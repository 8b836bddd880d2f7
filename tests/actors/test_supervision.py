import asyncio
import concurrent.futures
import pickle

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from actors import supervision
from actors.callbook import CALLS
from actors.supervision import ActorDied, call
from rollout.engine import DeadlineExceeded, EngineDied
from tests.actors.fakes import run, ticks


class Reference:
    """What a remote call gives back: an answer to come."""

    def __init__(self) -> None:
        self.answer: concurrent.futures.Future = concurrent.futures.Future()

    def future(self) -> concurrent.futures.Future:
        return self.answer


class Handle:
    """An actor with one method, `work`."""

    def __init__(self) -> None:
        self.reference, self.called = Reference(), []
        self.work = self

    def remote(self, *args, **kwargs) -> Reference:
        self.called.append((args, kwargs))
        return self.reference

    def answers(self, value: object) -> "Handle":
        self.reference.answer.set_result(value)
        return self

    def raises(self, error: Exception) -> "Handle":
        self.reference.answer.set_exception(error)
        return self


@pytest.fixture
def cancelled(monkeypatch) -> list:
    references: list = []
    monkeypatch.setattr(supervision.ray, "cancel", lambda reference, force: references.append((reference, force)))
    return references


def ask(handle: Handle, deadline_s: float = 5.0):
    return call("engine-0", handle, "work", 1, deadline_s=deadline_s, what="request 3.0", path="x")


def task_error(cause: Exception) -> Exception:
    """What Ray raises for an error of the method: of both types, and with the error inside."""
    return RayTaskError("work", "the remote traceback", cause).as_instanceof_cause()


def open_calls() -> object:
    return CALLS.oldest(longer_than_s=0)


def test_an_answer_is_passed_on_and_the_call_closed(cancelled):
    handle = Handle().answers(42)
    assert run(lambda: ask(handle)) == 42
    assert handle.called == [((1,), {"path": "x"})]
    assert cancelled == []
    assert open_calls() is None


def test_no_answer_in_time_names_actor_call_and_purpose_and_cancels_the_call(cancelled):
    handle = Handle()
    with pytest.raises(DeadlineExceeded) as caught:
        run(lambda: ask(handle, deadline_s=0.01))
    assert str(caught.value) == "engine-0.work did not answer within 0.01 s (request 3.0)"
    assert cancelled == [(handle.reference, False)]
    assert open_calls() is None


def test_an_open_call_is_in_the_book():
    async def test():
        asked = asyncio.create_task(ask(handle))
        await ticks(3)
        entry = CALLS.oldest(longer_than_s=0)
        assert entry is not None
        assert (entry.actor, entry.method, entry.what) == ("engine-0", "work", "request 3.0")
        handle.answers(None)
        await asked

    handle = Handle()
    run(test)
    assert open_calls() is None


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            ActorUnavailableError("The node is gone.\n\tits pid: 7", None),
            "The actor None is unavailable: The node is gone.",
        ),
        (ActorDiedError(), "The actor died unexpectedly before finishing this task."),
    ],
)
def test_a_dead_actor_is_named_with_the_first_line_of_the_cause(error, cause):
    with pytest.raises(ActorDied) as caught:
        run(lambda: ask(Handle().raises(error)))
    assert (caught.value.actor, caught.value.call, caught.value.cause) == ("engine-0", "work", cause)
    assert str(caught.value) == f"engine-0 died during work: {cause}"
    assert open_calls() is None


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("the prompt is too long"),
        TimeoutError("the method's own"),
        DeadlineExceeded("engine-0", "generate", "request 3.0", 42),
        EngineDied("engine-0", "out of memory"),
    ],
)
def test_what_the_method_raised_keeps_its_type_and_words(cancelled, cause):
    with pytest.raises(type(cause)) as caught:
        run(lambda: ask(Handle().raises(task_error(cause))))
    assert type(caught.value) is type(cause)
    assert str(caught.value) == str(cause)
    assert cancelled == [], "the call has ended: there is nothing to cancel"


def test_an_actors_death_survives_a_pickle():
    error = ActorDied("engine-0", "generate", "killed")
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert str(copied) == "engine-0 died during generate: killed"

"""Every remote call has a name and a deadline, and fails with an error that says which."""

import asyncio
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.callbook import CALLS
from rollout.engine import DeadlineExceeded


class ActorDied(RuntimeError):
    """An actor is gone, or could not be reached."""

    def __init__(self, actor: str, call: str, cause: str) -> None:
        super().__init__(actor, call, cause)
        self.actor, self.call, self.cause = actor, call, cause

    def __str__(self) -> str:
        return f"{self.actor} died during {self.call}: {self.cause}"


async def call(
    actor: str, handle: Any, method: str, *args: Any, deadline_s: float, what: str = "", **kwargs: Any
) -> Any:
    """Call `handle.method(*args)` on a Ray actor and wait for its answer.

    Raises:
        DeadlineExceeded: no answer within `deadline_s`; the call is cancelled.
        ActorDied: the actor is gone.
        Exception: whatever the method raised, with its own type.
    """
    with CALLS.entry(actor, method, what):
        reference = getattr(handle, method).remote(*args, **kwargs)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), deadline_s)
        except TimeoutError as error:
            if isinstance(error, RayTaskError):  # the method's own TimeoutError, not ours
                raise error.cause from None
            ray.cancel(reference, force=False)
            raise DeadlineExceeded(actor, method, what, deadline_s) from None
        except asyncio.CancelledError:
            ray.cancel(reference, force=False)  # nobody waits for the answer any more
            raise
        except RayActorError as error:
            raise ActorDied(actor, method, _first_line(error)) from None
        except RayTaskError as error:
            raise error.cause from None


async def kill(actor: str, handle: Any, deadline_s: float = 30.0) -> None:
    """Kill an actor and wait until its name is free for a successor.

    Raises:
        DeadlineExceeded: the name is still taken after `deadline_s`.
    """
    ray.kill(handle)
    try:
        async with asyncio.timeout(deadline_s):
            while await asyncio.to_thread(_exists, actor):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise DeadlineExceeded(actor, "kill", "its name is still taken", deadline_s) from None


def _exists(actor: str) -> bool:
    try:
        ray.get_actor(actor)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

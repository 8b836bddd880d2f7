"""How far generation may run ahead of training: the bound on staleness, by construction.

A slot of optimizer step s (steps count from 0) is dispatched only once every serving engine holds a
policy version v >= s - max_policy_lag. All its tokens are then of version v or later, and step s trains
version s, so no trained token is older than max_policy_lag versions. Refills start later and are newer.
"""

import asyncio


class VersionGate:
    """Opens step by step as the fleet receives new versions."""

    def __init__(self, max_policy_lag: int, version: int = 0) -> None:
        """`version` is what every serving engine holds at the start."""
        self._max_policy_lag, self._version = max_policy_lag, version
        self._advanced = asyncio.Condition()

    @property
    def version(self) -> int:
        """The version that every serving engine holds, at least."""
        return self._version

    async def advance(self, version: int) -> None:
        """Every serving engine now holds `version`."""
        async with self._advanced:
            self._version = version
            self._advanced.notify_all()

    async def wait_for_step(self, step: int) -> None:
        """Return once slots of optimizer step `step` may be dispatched."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self._version >= step - self._max_policy_lag)

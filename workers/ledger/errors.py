"""What can go wrong between a caller and the ledger, other than `workers.errors.LedgerRefused`."""

from __future__ import annotations


class StalePoll(Exception):
    """This poll was replaced: another one of its route has begun since. Nothing more of it is applied."""

    def __init__(self, route: str, generation: int) -> None:
        super().__init__(route, generation)
        self.route = route
        self.generation = generation


class IllegalStep(Exception):
    """A version was asked to take a step that its state does not have: Towline's own fault."""

    def __init__(self, state: str, step: str) -> None:
        super().__init__(state, step)
        self.state = state
        self.step = step

    def __str__(self) -> str:
        return f"a version that is {self.state} cannot be {self.step}"

"""The deadlines that have to fit into one another, checked before anything starts.

A connect has to end inside the rebuild's budget, that inside a poll, a poll's soft limit before its hard one,
and all of it before the broker believes the message lost and delivers it again. Where one does not fit, the
failure comes much later, as a killed child or a message delivered for ever; so a wrong budget refuses to
start. The last link, that a message of beat's expires before the next is due, `beat_schedule` makes hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.errors import ConfigurationError
from workers.settings.config_file import header
from workers.settings.quantities import shown_duration as shown

if TYPE_CHECKING:
    from workers.settings import Settings

SOFT_TO_HARD_S = 15.0
"""What a poll needs after its soft limit to close its line and write down why it failed."""

HARD_TO_VISIBLE_S = 60.0
"""What the broker's redelivery has to leave beyond the longest poll and an orderly stop."""


def check_time_budget(settings: Settings) -> None:
    """Raises ConfigurationError, naming both values and the remedy, for the first pair that does not fit."""
    soft, hard, visible = settings.poll_soft_limit, settings.poll_hard_limit, settings.visibility_timeout
    for endpoint in settings.endpoints.values():
        where = f"{settings.path}, {header('endpoints', endpoint.name)}"
        within = endpoint.reconnect.within
        if endpoint.connect_timeout >= within:
            raise ConfigurationError(
                where,
                f'connect_timeout = "{shown(endpoint.connect_timeout)}" leaves no time for a second attempt '
                f'within reconnect.within = "{shown(within)}"',
                "shorten connect_timeout, or lengthen reconnect.within",
            )
        if within >= soft:
            raise ConfigurationError(
                where,
                f'reconnect.within = "{shown(within)}" outlasts poll_soft_limit = "{shown(soft)}": no poll '
                "could say that it gave up",
                "shorten reconnect.within, or lengthen poll_soft_limit under [towline]",
            )
    where = f"{settings.path}, [towline]"
    if soft + SOFT_TO_HARD_S > hard:
        raise ConfigurationError(
            where,
            f'poll_soft_limit = "{shown(soft)}" is less than {shown(SOFT_TO_HARD_S)} before '
            f'poll_hard_limit = "{shown(hard)}"',
            f'make poll_hard_limit "{shown(soft + SOFT_TO_HARD_S)}" or longer',
        )
    longest = hard + settings.stop_grace + HARD_TO_VISIBLE_S
    if longest > visible:
        raise ConfigurationError(
            where,
            f'visibility_timeout = "{shown(visible)}" is shorter than poll_hard_limit = "{shown(hard)}", '
            f'stop_grace = "{shown(settings.stop_grace)}" and {shown(HARD_TO_VISIBLE_S)} together: '
            "the broker would deliver a poll again while it runs",
            f'make visibility_timeout "{shown(longest)}" or longer',
        )

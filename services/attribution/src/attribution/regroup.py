"""Credit touches under the channel and campaign that intake groups them to now, and know how far that has come."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attribution import store
from attribution.credit import credit_anew
from attribution.events import group_of, time_of
from baton.lead.v1.channels_pb2 import ChannelRulesChanged, ChannelRulesRestated, TouchRegrouped
from baton_kit.db import Tx
from baton_kit.envelope import Received
from baton_kit.failpoint import failpoint

if TYPE_CHECKING:
    from attribution.app import App

RULES_CHANGED = "channel_rules"
"""The cause of a regrouping that a change of the channel rules has made."""


async def touches_regrouped(tx: Tx, app: "App", events: Sequence[Received[TouchRegrouped]]) -> None:
    """Keep each grouping, and credit the deals of its lead anew; of several about one touch the latest counts.

    A grouping may come before its touch: it counts as soon as the touch is there.
    """
    facts = [group_of(e.body) for e in events]
    position = await store.next_position(tx, at=app.clock.now())
    failpoint("attribution.after_position")
    new = await store.insert_groups(tx, facts, known_seq=position)
    failpoint("attribution.after_groups")
    await store.count_regrouped(tx, Counter(f.rules_version for f in new if f.cause == RULES_CHANGED))
    if new:
        await credit_anew(tx, await store.current_projection(tx), {f.lead_id for f in new})
    failpoint("attribution.after_credit")


async def rules_changed(tx: Tx, app: "App", events: Sequence[Received[ChannelRulesChanged]]) -> None:
    """Keep that these versions were put into force."""
    await store.next_position(tx, at=app.clock.now())
    for e in events:
        await store.rules_changed(tx, version=e.body.sequence, at=time_of(e.body, "occurred_at"))
    failpoint("attribution.after_rules")


async def rules_restated(tx: Tx, app: "App", events: Sequence[Received[ChannelRulesRestated]]) -> None:
    """Keep how many touches a version regroups in all: whoever has seen as many has seen every one."""
    await store.next_position(tx, at=app.clock.now())
    for e in events:
        await store.rules_restated(tx, version=e.body.sequence, touches=e.body.touches_regrouped)
    failpoint("attribution.after_rules")

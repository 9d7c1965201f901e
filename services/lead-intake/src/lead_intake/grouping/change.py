"""Change the channel rules: a version of its own, and an event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from baton.lead.v1.channels_pb2 import ChannelRulesChanged
from baton_kit.db import Tx
from baton_kit.envelope import event
from baton_kit.failpoint import failpoint
from lead_intake import store as sources
from lead_intake.channels import ChannelRules, canonical, digest_of, site_of_host
from lead_intake.contact import stamp
from lead_intake.grouping import store
from lead_intake.grouping.store import Grouping, Table

if TYPE_CHECKING:
    from lead_intake.app import App

KEY: Final = "channel-rules"
"""The key of the events about the table: they keep their order among each other."""


class Overtaken(Exception):
    """The rules were changed by somebody else since they were read."""

    def __init__(self, version: int) -> None:
        super().__init__(str(version))
        self.version = version


async def change(tx: Tx, app: App, document: Mapping[str, Any], *, read: int, by: str) -> Table:
    """Put a table (free of `problems`) into force and return it; the same rules again are the same version.

    `read` is the version that the change was made to. Raises Overtaken. New touches follow within a second, earlier
    ones by `restate`.
    """
    present = await store.lock_rules(tx)
    failpoint("channels.after_lock")
    digest = digest_of(document)
    if digest == present.digest:
        return present
    if read != present.version:
        raise Overtaken(present.version)
    at = app.clock.now()
    table = Table(present.version + 1, digest, canonical(document).decode(), at, by, 0, 0, None)
    await store.insert(tx, table)
    await sources.raise_source_version(tx)
    failpoint("channels.after_insert")
    body = ChannelRulesChanged(
        sequence=table.version, occurred_at=stamp(at), digest=digest, document=canonical(document), changed_by=by
    )
    await app.outbox.append(tx, [event(body, key=KEY, occurred_at=at)])
    failpoint("channels.before_commit")
    return table


def rules_of(table: Table) -> ChannelRules:
    """The rules of a stored version."""
    return ChannelRules(json.loads(table.document), version=table.version)


def channel_of(touch: Grouping, rules: ChannelRules) -> str:
    """The channel of a touch under these rules: of what was kept of it, by the same function as at the door."""
    return rules.channel_of(
        touch.utm_source,
        touch.utm_medium,
        campaign=touch.utm_campaign,
        clicks=tuple(touch.click_kinds.split()),
        referrer=site_of_host(touch.referrer_host),
    )

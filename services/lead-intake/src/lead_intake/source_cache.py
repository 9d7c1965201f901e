"""The sources in memory, so that the hot path reads none of their tables; at most a second behind the database."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from secrets import token_hex

from baton_kit.db import Database, Direct, Tx
from baton_kit.outages import is_outage
from baton_kit.seal import SealBroken, seal, unseal
from baton_kit.telemetry import log
from lead_intake import store
from lead_intake.campaigns import store as campaigns_store
from lead_intake.campaigns.matching import NO_CAMPAIGNS, Campaigns
from lead_intake.channels import DEFAULT_RULES, ChannelRules
from lead_intake.delivery import NOTHING, Source
from lead_intake.fetching import store as fetching_store
from lead_intake.grouping import store as grouping_store
from lead_intake.identity.shared import shared_keys

REFRESH_S = 0.5
IMPORT = "import"
"""The provider of exports that were imported."""


class SourceCache:
    """All sources with their secrets in clear, which never leave this process, and the channel rules in force."""

    def __init__(self, db: Database, *, key: bytes) -> None:
        self._db = db
        self._key = key
        self._version: int | None = None
        self._sources: Mapping[str, Source] = {}
        self._by_token: Mapping[tuple[str, bytes], Source] = {}
        self.rules: ChannelRules = DEFAULT_RULES
        self.campaigns: Campaigns = NO_CAMPAIGNS
        self._shared: frozenset[str] = frozenset()

    @property
    def loaded(self) -> bool:
        """False until the database was read once: nobody can be told to be unknown before."""
        return self._version is not None

    def get(self, source_id: str) -> Source | None:
        """The source as it was at most a second ago."""
        return self._sources.get(source_id)

    async def refresh(self) -> None:
        """Read the sources when their version has moved."""
        async with self._db.begin() as tx:
            version = await store.source_version(tx)
            if version == self._version:
                return
            rows = await store.sources(tx)
            shared = await shared_keys(tx)
            credentials = await fetching_store.credentials(tx)
            table = await grouping_store.current(tx)
            await self.campaigns_of(tx, await campaigns_store.version(tx))
        if table.version != self.rules.version:
            self.rules = ChannelRules(json.loads(table.document), version=table.version)
        shown: dict[str, dict[str, str]] = {}
        for source_id, name, sealed, _ in credentials:
            try:
                opened = unseal(self._key, sealed, context=f"credential:{source_id}:{name}").decode()
            except SealBroken:
                log.error("credential_cannot_be_opened", source=source_id, credential=name)
                continue
            shown.setdefault(source_id, {})[name] = opened
        self._shared = shared
        # An import is a source of the ledger without a door.
        self._sources = {row.id: self.opened(row, shown.get(row.id, {})) for row in rows if row.provider != IMPORT}
        self._by_token = {(s.provider, s.token_digest): s for s in self._sources.values() if s.token_digest}
        self._version = version

    async def campaigns_of(self, tx: Tx | Direct, version: int) -> Campaigns:
        """The campaigns of this version, which the transaction has read; they are read again only when it has moved.

        Whoever writes touches shares the campaigns' lock from before: nobody changes them until it has committed.
        Version 0 is asked for by whoever writes none.
        """
        if version in (0, self.campaigns.version):
            return self.campaigns
        self.campaigns = Campaigns(version, await campaigns_store.claims(tx))
        return self.campaigns

    def by_token(self, provider: str, token: str) -> Source | None:
        """The provider's source with this token in its address; the token alone says which it is."""
        if not token:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        return self._by_token.get((provider, digest))

    async def keep_fresh(self) -> None:
        """Refresh for ever; an outage leaves what is known."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                if not is_outage(error):
                    raise
                log.warning("sources_not_refreshed", error=type(error).__name__)
            await asyncio.sleep(REFRESH_S)

    def sealed(self, source_id: str, secret: str) -> bytes:
        """A secret as it is stored, bound to its source."""
        return seal(self._key, secret.encode(), context=f"source:{source_id}")

    def sealed_credential(self, source_id: str, name: str, *, value: str) -> bytes:
        """A credential as it is stored, bound to its source and name."""
        return seal(self._key, value.encode(), context=f"credential:{source_id}:{name}")

    def all(self) -> Mapping[str, Source]:
        """Every source by its id."""
        return self._sources

    def opened(self, row: store.SourceRow, credentials: Mapping[str, str] = NOTHING) -> Source:
        """The source with its secrets in clear."""
        secrets = []
        for id, sealed, _ in row.secrets:
            try:
                secrets.append(unseal(self._key, sealed, context=f"source:{row.id}").decode())
            except SealBroken:
                log.error("secret_cannot_be_opened", source=row.id, secret=id)
        return Source(
            id=row.id,
            provider=row.provider,
            name=row.name,
            default_region=row.default_region,
            # A source whose every secret is broken must not turn into one that needs none, or a known one.
            secrets=tuple(secrets) if secrets or not row.secrets else (token_hex(),),
            token_digest=row.token_digest or b"",
            mapping=row.mapping,
            settings=row.settings,
            shared_keys=self._shared,
            credentials=credentials,
            rules=self.rules,
        )

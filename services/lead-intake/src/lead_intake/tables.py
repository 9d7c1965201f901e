"""The service's tables; `migrations/` makes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from baton_kit.forgotten import add_forgotten_table
from baton_kit.tables import add_edges_table, add_kit_tables

metadata = MetaData()
kit = add_kit_tables(metadata)
erased_lead = add_forgotten_table(metadata)


def _text(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _bare(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False)


def _time(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False)


source = Table(
    "source",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    _text("name"),
    _text("default_region"),
    Column("mapping", JSONB, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("token_digest", LargeBinary),
    _time("created_at"),
)
"""A configured door."""

source_secret = Table(
    "source_secret",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("source_id", Text, ForeignKey("source.id", ondelete="CASCADE"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _time("created_at"),
    Index("source_secret_source", "source_id"),
)
"""The active secrets of a source, sealed for its id; several stand beside each other while one is rotated."""

source_version = Table(
    "source_version",
    metadata,
    Column("the_only", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("the_only = 1", name="source_version_one_row"),
)
"""Raised with every change of a source, so that the doors know when to read them again."""

receipt = Table(
    "receipt",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("source_id", Text, nullable=False),
    _time("received_at"),
    Column("state", Text, nullable=False),
    _text("reason"),
    Column("entries", SmallInteger, nullable=False),
    _text("content_type"),
    Column("body", LargeBinary),
    Index("receipt_source", "source_id", "id"),
    Index("receipt_waiting", "state", "id", postgresql_where=text("state <> 'settled'")),
)
"""One row a delivery, with its raw bytes."""

receipt_entry = Table(
    "receipt_entry",
    metadata,
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    _text("reason"),
    Column("lead_id", UUID(as_uuid=False)),
    Column("first_receipt_id", UUID(as_uuid=False)),
    PrimaryKeyConstraint("receipt_id", "ordinal", name="receipt_entry_pkey"),
    Index(
        "receipt_entry_taken",
        "source_id",
        "key",
        unique=True,
        postgresql_where=text(
            "outcome IN ('created', 'matched', 'touch_only', 'updated', 'pending') OR reason = 'forgotten'"
        ),
    ),
    Index("receipt_entry_touchless", "lead_id", postgresql_where=text("outcome IN ('duplicate', 'updated')")),
    Index(
        "receipt_entry_unread",
        "receipt_id",
        postgresql_where=text("lead_id IS NULL AND outcome IN ('quarantined', 'pending', 'test')"),
    ),
    Index(
        "receipt_entry_of_nobody",
        "first_receipt_id",
        postgresql_where=text("lead_id IS NULL AND outcome = 'duplicate'"),
    ),
)
"""One row an entry with its outcome; the partial unique index is what makes a repeat a repeat."""

identity_key = Table(
    "identity_key",
    metadata,
    Column("key", Text, primary_key=True),
    Column("person_id", UUID(as_uuid=False), nullable=False),
    Index("identity_key_person", "person_id"),
)
"""`email:…` and `phone:…` to the person they belong to."""

lead = Table(
    "lead",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("person_id", UUID(as_uuid=False), nullable=False),
    Column("source_id", Text, nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    _time("created_at"),
    Column("sequence", BigInteger, nullable=False),
    _time("told_at"),
    Column("features", LargeBinary, nullable=False),
    Column("account_id", UUID(as_uuid=False)),
    Index("lead_person", "person_id", unique=True),
    Index("lead_account", "account_id", "id", postgresql_where=text("account_id IS NOT NULL")),
)
"""A lead: its version, features (a serialised `LeadFeatures`) and account. Names no person."""

contact = Table(
    "contact",
    metadata,
    Column("lead_id", UUID(as_uuid=False), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""The contact of a lead (a serialised `ContactChanged`), apart from the lead, so that forgetting empties one table."""

touch = Table(
    "touch",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("lead_id", UUID(as_uuid=False), nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    _time("occurred_at"),
    Column("sequence", BigInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("channel", Text, nullable=False),
    _text("utm_source"),
    _text("utm_medium"),
    _text("utm_campaign"),
    _text("campaign_id"),
    _text("form_id"),
    _text("page"),
    _text("referrer_domain"),
    _text("adgroup_id"),
    _text("ad_id"),
    _text("referrer_host"),
    _text("click_kinds"),
    Column("within_visit", Boolean, nullable=False, server_default=text("FALSE")),
    _text("action"),
    _text("campaign"),
    Column("rules_version", BigInteger),
    _text("campaign_key"),
    Index("touch_lead", "lead_id", "sequence"),
    Index(
        "touch_unmatched",
        "campaign_key",
        "occurred_at",
        postgresql_include=["lead_id"],
        postgresql_where=text("campaign = '' AND campaign_key <> ''"),
    ),
    Index("touch_campaign", "campaign", "lead_id", postgresql_where=text("campaign <> ''")),
    Index("touch_rules", "rules_version", postgresql_where=text("rules_version IS NOT NULL")),
)
"""One contact with marketing; click ids are in the contact only, their kinds (divided by spaces) here.

`rules_version` is the version of the channel rules that it was grouped by last; null where too little was kept to
group it anew. `campaign` is the code of its campaign; while it has none it stands in the worklist under `campaign_key`.
"""

channel_rules = Table(
    "channel_rules",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    _time("changed_at"),
    Column("changed_by", Text, nullable=False),
    Column("touches_read", BigInteger, nullable=False),
    Column("touches_regrouped", BigInteger, nullable=False),
    Column("restated_at", DateTime(timezone=True)),
)
"""Every version of the channel rules; the highest is in force. `restated_at` is when all touches were grouped by it."""

campaign = Table(
    "campaign",
    metadata,
    Column("code", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    *(_bare(name) for name in ("name", "owner_department", "owner_person", "product", "segment")),
    Column("starts_on", Date),
    Column("ends_on", Date),
    Column("planned_spend_minor", BigInteger),
    _bare("currency"),
    Column("planned_leads", BigInteger),
    Column("archived", Boolean, nullable=False),
    _time("created_at"),
    _time("changed_at"),
)
"""What marketing planned."""

campaign_key = Table(
    "campaign_key",
    metadata,
    _bare("key"),
    Column("code", Text, ForeignKey("campaign.code"), nullable=False),
    _bare("bare"),
    PrimaryKeyConstraint("key", "code", name="campaign_key_pkey"),
    Index("campaign_key_bare", "bare"),
    Index("campaign_key_code", "code"),
)
"""What touches must carry to belong to a campaign; of one `bare` key two campaigns can have at most other days."""

campaign_change = Table(
    "campaign_change",
    metadata,
    _bare("code"),
    Column("version", BigInteger, nullable=False),
    _time("changed_at"),
    _bare("changed_by"),
    _bare("document"),
    PrimaryKeyConstraint("code", "version", name="campaign_change_pkey"),
)
"""Every version of every campaign, and who made it; only ever added to."""

campaign_ignored = Table(
    "campaign_ignored",
    metadata,
    Column("key", Text, primary_key=True),
    _bare("ignored_by"),
    _time("ignored_at"),
)
"""Keys of the worklist that somebody decided to leave without a campaign."""

campaign_book = Table(
    "campaign_book",
    metadata,
    Column("the_only", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    _time("changed_at"),
    Column("after_touch", UUID(as_uuid=False)),
    Column("touches_read", BigInteger, nullable=False),
    Column("touches_regrouped", BigInteger, nullable=False),
    Column("restated_at", DateTime(timezone=True)),
    CheckConstraint("the_only = 1", name="campaign_book_one_row"),
)
"""The version of all claims together, and how far earlier touches follow it: up to the touch `after_touch`."""

visitor = Table(
    "visitor",
    metadata,
    Column("key", Text, primary_key=True),
    Column("person_id", UUID(as_uuid=False), nullable=False),
    _time("seen_at"),
    Index("visitor_person", "person_id"),
)
"""`anonymous:…` and `user:…` to the person who was identified last under them. No identity: a device may be shared."""

visit = Table(
    "visit",
    metadata,
    Column("touch_id", UUID(as_uuid=False), primary_key=True),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    _time("occurred_at"),
    _time("received_at"),
    Column("anonymous_key", Text, nullable=False),
    Column("user_key", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("mentions", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Index("visit_mentions", "mentions", postgresql_using="gin", postgresql_where=text("mentions <> '{}'")),
    Index("visit_anonymous", "anonymous_key", postgresql_where=text("anonymous_key <> ''")),
    Index("visit_user", "user_key", postgresql_where=text("user_key <> ''")),
    Index("visit_received", "received_at"),
)
"""A touch of somebody who is not known yet: when the person is identified it becomes a row of `touch`."""

stitch = Table(
    "stitch",
    metadata,
    Column("key", Text, primary_key=True),
    _time("noted_at"),
)
"""Visitors who were identified and whose earlier visits may wait for it."""

proposed_merge = Table(
    "proposed_merge",
    metadata,
    Column("person_low", UUID(as_uuid=False), nullable=False),
    Column("person_high", UUID(as_uuid=False), nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    _time("proposed_at"),
    Column("kind", Text, nullable=False, server_default=text("'keys'")),
    Column("score", SmallInteger, nullable=False, server_default=text("100")),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    PrimaryKeyConstraint("person_low", "person_high", name="proposed_merge_pkey"),
    Index(
        "proposed_merge_open",
        "proposed_at",
        "person_low",
        "person_high",
        postgresql_where=text("state = 'open'"),
    ),
)
"""Two persons that may be one: named so by one delivery (`keys`), or alike (`alike`). Nothing is merged by it.

`receipt_id` is all zeros where no delivery named the two."""

merge_edge = add_edges_table(metadata)
"""The merges as they stand."""

merge_decision = Table(
    "merge_decision",
    metadata,
    Column("merge_id", UUID(as_uuid=False), nullable=False),
    Column("version", BigInteger, nullable=False),
    _bare("decided_by"),
    _bare("reason"),
    _time("decided_at"),
    PrimaryKeyConstraint("merge_id", "version", name="merge_decision_pkey"),
)
"""Who merged two leads (version 1) and who undid it (version 2), and why; only ever added to."""

likeness = Table(
    "likeness",
    metadata,
    Column("lead_id", UUID(as_uuid=False), ForeignKey("contact.lead_id", ondelete="CASCADE"), primary_key=True),
    _bare("name"),
    _bare("company"),
    Index("likeness_company", "company", postgresql_using="gin", postgresql_ops={"company": "gin_trgm_ops"}),
)
"""Name and company as they are compared; goes with the contact."""

likeness_round = Table(
    "likeness_round",
    metadata,
    Column("the_only", SmallInteger, primary_key=True, autoincrement=False),
    Column("after_lead", UUID(as_uuid=False)),
    Column("started_at", DateTime(timezone=True)),
)
"""How far the search for leads that are alike has come; one row, held by the process that searches."""

shared_key = Table(
    "shared_key",
    metadata,
    Column("key", Text, primary_key=True),
    Column("shared", Boolean, nullable=False),
    _bare("added_by"),
    _time("added_at"),
)
"""`email:…` and `phone:…` that many persons share, or (not `shared`) that are one person's whatever the rule finds."""

key_name = Table(
    "key_name",
    metadata,
    _bare("key"),
    _bare("name"),
    _time("seen_at"),
    PrimaryKeyConstraint("key", "name", name="key_name_pkey"),
)
"""Digests of the names that a key came with, where they differed."""

lead_search = Table(
    "lead_search",
    metadata,
    Column("lead_id", UUID(as_uuid=False), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("words", Text, nullable=False),
    Index("lead_search_words", "words", postgresql_using="gin", postgresql_ops={"words": "gin_trgm_ops"}),
)
"""The words by which a lead is found, of the contact's version `sequence`."""

source_credential = Table(
    "source_credential",
    metadata,
    Column("source_id", Text, ForeignKey("source.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _time("set_at"),
    PrimaryKeyConstraint("source_id", "name", name="source_credential_pkey"),
)
"""What we show a provider (access token) or a provider shows us once (verify token), sealed for source and name."""

fetch_job = Table(
    "fetch_job",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("lookup_id", Text, nullable=False),
    _text("form_id"),
    Column("about", JSONB, nullable=False),
    _time("occurred_at"),
    Column("state", Text, nullable=False),
    _text("reason"),
    Column("attempt", Integer, nullable=False),
    Column("malformed", Integer, nullable=False),
    _time("due_at"),
    _time("expires_at"),
    Column("lease_until", DateTime(timezone=True)),
    Column("epoch", BigInteger, nullable=False),
    _time("created_at"),
    Column("settled_at", DateTime(timezone=True)),
    Index("fetch_job_entry", "receipt_id", "ordinal", unique=True),
    Index("fetch_job_due", "source_id", "due_at", postgresql_where=text("state = 'waiting'")),
    Index("fetch_job_expires", "expires_at", postgresql_where=text("state = 'waiting'")),
    Index("fetch_job_key", "source_id", "key"),
)
"""One pending entry that the provider has to be asked about. Ids only: it names no person."""

fetch_state = Table(
    "fetch_state",
    metadata,
    Column("source_id", Text, primary_key=True),
    _time("served_at"),
    Column("allowance", Double, nullable=False),
    _time("refilled_at"),
    Column("paused_until", DateTime(timezone=True)),
    _text("pause_reason"),
    Column("throttled", Integer, nullable=False),
    Column("token_invalid_since", DateTime(timezone=True)),
    _text("token_reason"),
    Column("last_ok_at", DateTime(timezone=True)),
)
"""How much may be asked for a source now: the one row that all workers share."""

erase_request = Table(
    "erase_request",
    metadata,
    Column("source_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    _time("requested_at"),
    Column("done_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("source_id", "key", name="erase_request_pkey"),
    Index("erase_request_open", "requested_at", postgresql_where=text("done_at IS NULL")),
)
"""A provider ordered the person behind an entry to be forgotten; open while `done_at` is null."""

provider_lead = Table(
    "provider_lead",
    metadata,
    Column("source_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    _text("form_id"),
    _time("occurred_at"),
    _time("listed_at"),
    Column("receipt_id", UUID(as_uuid=False)),
    PrimaryKeyConstraint("source_id", "key", name="provider_lead_pkey"),
    Index("provider_lead_day", "source_id", "occurred_at"),
)
"""A lead that the provider itself lists; `receipt_id` where only the list told of it, not the push."""

reconcile_state = Table(
    "reconcile_state",
    metadata,
    Column("source_id", Text, primary_key=True),
    _time("watermark"),
    Column("deep_at", DateTime(timezone=True)),
    _time("due_at"),
    Column("lease_until", DateTime(timezone=True)),
    Column("epoch", BigInteger, nullable=False),
    Column("ran_at", DateTime(timezone=True)),
    Column("failed_since", DateTime(timezone=True)),
    _text("reason"),
    Column("listed", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
)
"""How far a source has been compared with its provider's own list, and how the last run ended."""

# --- the ledger ------------------------------------------------------------------------------------------------------

receipt_request = Table(
    "receipt_request",
    metadata,
    Column("receipt_id", UUID(as_uuid=False), primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("unproven", Boolean, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index(
        "receipt_request_unproven",
        "source_id",
        "receipt_id",
        postgresql_include=["size"],
        postgresql_where=text("unproven"),
    ),
)
"""What a repair needs beside the body: method, address and headers, sealed; of an unproven sender also the body."""

Index(
    "receipt_entry_rare",
    receipt_entry.c.outcome,
    receipt_entry.c.receipt_id,
    postgresql_where=text("outcome IN ('updated', 'duplicate', 'refused', 'quarantined', 'pending', 'test')"),
)

ledger_hour = Table(
    "ledger_hour",
    metadata,
    Column("source_id", Text, nullable=False),
    _time("hour"),
    *(
        Column(name, BigInteger, nullable=False)
        for name in (
            "receipts",
            "entries",
            "created",
            "matched",
            "touch_only",
            "updated",
            "duplicate",
            "refused",
            "quarantined",
            "pending",
            "test",
        )
    ),
    PrimaryKeyConstraint("source_id", "hour", name="ledger_hour_pkey"),
    Index("ledger_hour_hour", "hour"),
)
"""The entries counted so far, by source and hour of their receipt; the hour is the one in the receipt's id."""

ledger_change = Table(
    "ledger_change",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("hour"),
)
"""Hours in which something was changed or removed since they were counted; written by triggers."""

ledger_break = Table(
    "ledger_break",
    metadata,
    Column("source_id", Text, nullable=False),
    _time("hour"),
    Column("law", Text, nullable=False),
    Column("expected", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    _time("found_at"),
    PrimaryKeyConstraint("source_id", "hour", "law", name="ledger_break_pkey"),
)
"""Where the ledger does not add up. Empty, or somebody must look."""

ledger_mark = Table(
    "ledger_mark",
    metadata,
    Column("name", Text, primary_key=True),
    _time("reached"),
    _time("at"),
)
"""How far a piece of steady work has come (`reached`), and when it was last there."""

replay = Table(
    "replay",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("state", Text, nullable=False),
    Column("wanted", JSONB, nullable=False),
    Column("release", Boolean, nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("total", "done", "settled", "waiting", "failed")),
    Column("last_receipt", UUID(as_uuid=False)),
    Column("until_receipt", UUID(as_uuid=False), nullable=False),
    _time("requested_at"),
    _time("moved_at"),
    Index("replay_open", "id", postgresql_where=text("state = 'running'")),
)
"""A replay of many receipts; its place moves in the transaction of each receipt."""

import_file = Table(
    "import_file",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("layout", JSONB, nullable=False),
    Column("layout_digest", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("trial", Text),
    Column("state", Text, nullable=False),
    _text("reason"),
    Column("received", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("header", JSONB),
    Column("counts", JSONB, nullable=False),
    _time("created_at"),
    Column("finished_at", DateTime(timezone=True)),
    Index("import_file_waiting", "source_id", "id", postgresql_where=text("state IN ('waiting', 'running')")),
    Index("import_file_digest", "source_id", "digest"),
)
"""An export that was handed in, and how far it is worked through (`position` in bytes, `records` of the file)."""

import_part = Table(
    "import_part",
    metadata,
    Column("import_id", UUID(as_uuid=False), ForeignKey("import_file.id", ondelete="CASCADE"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("import_id", "position", name="import_part_pkey"),
)
"""The bytes of an export until it is done."""

import_error = Table(
    "import_error",
    metadata,
    Column("import_id", UUID(as_uuid=False), ForeignKey("import_file.id", ondelete="CASCADE"), nullable=False),
    Column("record", BigInteger, nullable=False),
    _text("column_name"),
    Column("code", Text, nullable=False),
    PrimaryKeyConstraint("import_id", "record", name="import_error_pkey"),
)
"""A row that was not taken: its number, why, and the column to blame; never what stands there."""

import_waiting = Table(
    "import_waiting",
    metadata,
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("import_id", UUID(as_uuid=False), nullable=False),
    Column("record", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("fact", LargeBinary, nullable=False),
    Column("digests", ARRAY(LargeBinary), nullable=False),
    _time("occurred_at"),
    _time("received_at"),
    Column("lead_id", UUID(as_uuid=False)),
    PrimaryKeyConstraint("receipt_id", "ordinal", name="import_waiting_pkey"),
    Index("import_waiting_digests", "digests", postgresql_using="gin", postgresql_where=text("lead_id IS NULL")),
    Index("import_waiting_found", "receipt_id", "ordinal", postgresql_where=text("lead_id IS NOT NULL")),
    Index("import_waiting_age", "received_at"),
)
"""Deals and answers whose lead is not there yet: `digests` stand for the lead's keys, and the fact names no person."""

import_forgotten = Table(
    "import_forgotten",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    _time("noted_at"),
)
"""Keys (as digests) of persons who were forgotten while exports were under way, until those are through."""

import_trial = Table(
    "import_trial",
    metadata,
    Column("trial", Text, nullable=False),
    Column("key", BigInteger, nullable=False),
    _time("noted_at"),
    PrimaryKeyConstraint("trial", "key", name="import_trial_pkey"),
    Index("import_trial_age", "noted_at"),
)
"""What a dry run would have made so far (64 bits of a hash), so that its later rows and files find it."""

import_campaign = Table(
    "import_campaign",
    metadata,
    Column("source_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    _text("utm_source"),
    _text("utm_medium"),
    _text("utm_campaign"),
    PrimaryKeyConstraint("source_id", "id", name="import_campaign_pkey"),
)
"""Campaigns of an export, for the rows that name them by id."""

# --- accounts --------------------------------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    _bare("name"),
    _time("created_at"),
    Column("sequence", BigInteger, nullable=False),
)
"""A company; `sequence` is raised by its merges. The name is empty until somebody tells it."""

account_key = Table(
    "account_key",
    metadata,
    Column("key", Text, primary_key=True),
    Column("account_id", UUID(as_uuid=False), nullable=False),
    Index("account_key_account", "account_id"),
    Index(
        "account_key_tax",
        "account_id",
        text("substr(key, 1, 6)"),
        unique=True,
        postgresql_where=text("key LIKE 'tax:%'"),
    ),
)
"""`tax:…`, `company:<crm>:…` and `domain:…` to the account they belong to; of tax numbers one a country."""

account_proposal = Table(
    "account_proposal",
    metadata,
    Column("low", UUID(as_uuid=False), nullable=False),
    Column("high", UUID(as_uuid=False), nullable=False),
    Column("receipt_id", UUID(as_uuid=False), nullable=False),
    _time("proposed_at"),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    PrimaryKeyConstraint("low", "high", name="account_proposal_pkey"),
    Index("account_proposal_open", "kind", "proposed_at", postgresql_where=text("state = 'open'")),
)
"""Two accounts that may be one: named so by one inquiry or lead (`keys`), or by a tax number (`tax`)."""

account_edge = add_edges_table(metadata, "account_edge")
"""The merges of accounts as they stand."""

account_decision = Table(
    "account_decision",
    metadata,
    Column("merge_id", UUID(as_uuid=False), nullable=False),
    Column("version", BigInteger, nullable=False),
    _bare("decided_by"),
    _bare("reason"),
    _time("decided_at"),
    PrimaryKeyConstraint("merge_id", "version", name="account_decision_pkey"),
)
"""Who merged two accounts (version 1) and who undid it (version 2), and why; only ever added to."""

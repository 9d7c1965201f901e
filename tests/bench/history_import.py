"""A hundred thousand rows of a CRM's export, from the first byte sent to the last row in the ledger."""

import asyncio
import hashlib
import time

import asyncpg
import httpx2

from baton_local.stack import Stack

from .result import Figure, Say

MOST_S = 120.0
_HEADER = "Record ID,Email,Phone Number,First Name,Last Name,Company,Job Title,Country,Create Date,Original Source"
_LAYOUT = {
    "kind": "leads",
    "crm": "hubspot",
    "default_region": "DE",
    "columns": {
        "id": "Record ID",
        "email": "Email",
        "phone": "Phone Number",
        "first_name": "First Name",
        "last_name": "Last Name",
        "company_name": "Company",
        "job_title": "Job Title",
        "country": "Country",
        "occurred_at": {"column": "Create Date", "formats": ["%d.%m.%Y %H:%M"]},
        "utm_source": "Original Source",
    },
}


def export(rows: int) -> bytes:
    """Rows of persons who each differ; every tenth shares the e-mail address of the row before."""
    lines = [_HEADER]
    for n in range(rows):
        who = n - 1 if n % 10 == 9 else n
        lines.append(
            f'{n},person{who}@firm{who % 5_000}.example.com,0151 {n:08},Anna,Example{n},"Firm {n % 5_000}, Ltd",'
            f"Head of Sales,Germany,{n % 28 + 1:02}.{n % 12 + 1:02}.2024 {n % 24:02}:30,google"
        )
    return "\n".join(lines).encode() + b"\n"


async def measure(stack: Stack, say: Say, *, rows: int) -> Figure:
    """Import `rows` rows into the running stack; qualification keeps them meanwhile, as it would."""
    figure = Figure("IMPORT", f"import of {rows:,} rows of a CRM's export", "s", f"≤ {MOST_S:.0f} s for 100,000")
    data = export(rows)
    base = stack.url("lead-intake")
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    connection = await asyncpg.connect(stack.database_url("qualification"))
    async with httpx2.AsyncClient(trust_env=False, timeout=120, headers=headers) as client:
        known = await connection.fetchval("SELECT count(*) FROM lead")
        began = time.perf_counter()
        body = {"source": "bench", "size": len(data), "digest": hashlib.sha256(data).hexdigest(), "layout": _LAYOUT}
        one = (await client.post(f"{base}/v1/imports", json=body)).raise_for_status().json()
        path = f"{base}/v1/imports/{one['id']}"
        (await client.post(f"{path}/content", content=data)).raise_for_status()
        sent = time.perf_counter() - began
        while one["state"] != "done":
            await asyncio.sleep(0.5)
            one = (await client.get(path)).raise_for_status().json()
            say(f"import: {one['rows']:,} of {rows:,} rows")
        seconds = time.perf_counter() - began
    created = one["counts"]["created"]
    while await connection.fetchval("SELECT count(*) FROM lead") < known + created:  # noqa: ASYNC110 - the state of another process
        await asyncio.sleep(0.5)
    kept = time.perf_counter() - began
    handed_over = await connection.fetchval("SELECT count(*) FROM lead WHERE cycle_state NOT IN ('history', 'open')")
    await connection.close()
    figure.pairs.append((seconds, 0))
    figure.met = seconds * 100_000 / rows <= MOST_S
    figure.more = {
        "rows": rows,
        "bytes": len(data),
        "rows_a_second": round(rows / seconds),
        "upload_s": round(sent, 1),
        "until_qualification_keeps_them_s": round(kept, 1),
        "counts": one["counts"],
        "handed_over": handed_over,
    }
    return figure

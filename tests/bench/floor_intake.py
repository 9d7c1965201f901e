"""The floor of B1: a bare route that group-commits three rows a request, and nothing else.

`python floor_intake.py DATABASE_URL PORT`. What it does not do (verify, parse, know anybody) is what B1 measures.
"""

import asyncio
import sys
import uuid

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TABLES = """
CREATE TABLE receipt (id uuid PRIMARY KEY, body bytea NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE lead (id uuid PRIMARY KEY, receipt_id uuid NOT NULL);
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key uuid NOT NULL, value bytea NOT NULL);
"""
WRITE = """
WITH r AS (
    INSERT INTO receipt (id, body) SELECT * FROM unnest($1::uuid[], $2::bytea[]) ON CONFLICT DO NOTHING RETURNING id
), l AS (
    INSERT INTO lead (id, receipt_id) SELECT l.lead, l.receipt FROM unnest($1::uuid[], $3::uuid[]) AS l(receipt, lead)
)
INSERT INTO outbox (key, value) SELECT * FROM unnest($3::uuid[], $2::bytea[])
"""


def create(pool: asyncpg.Pool) -> tuple[Starlette, list[asyncio.Task[None]]]:
    queue: asyncio.Queue[tuple[bytes, asyncio.Future[None]]] = asyncio.Queue(maxsize=5000)

    async def flush() -> None:
        async with pool.acquire() as connection:
            statement = await connection.prepare(WRITE)
            while True:
                batch = [await queue.get()]
                while not queue.empty() and len(batch) < 500:
                    batch.append(queue.get_nowait())
                receipts, leads = [uuid.uuid4() for _ in batch], [uuid.uuid4() for _ in batch]
                await statement.fetch(receipts, [body for body, _ in batch], leads)
                for _, done in batch:
                    done.set_result(None)

    async def take(request: Request) -> Response:
        done = asyncio.get_running_loop().create_future()
        await queue.put((await request.body(), done))
        await done
        return Response(b"{}", media_type="application/json")

    return Starlette(routes=[Route("/v1/webhooks/floor", take, methods=["POST"])]), [
        asyncio.create_task(flush()) for _ in range(2)
    ]


async def main(url: str, port: int) -> None:
    pool = await asyncpg.create_pool(url, min_size=2, max_size=2)
    app, flushers = create(pool)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()
    for flusher in flushers:
        flusher.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2])))

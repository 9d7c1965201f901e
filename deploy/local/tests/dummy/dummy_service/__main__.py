"""Roles migrate, api and worker, with a table, a /readyz and a SIGTERM that is obeyed."""

import asyncio
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import asyncpg


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


async def migrate() -> None:
    connection = await asyncpg.connect(os.environ["BATON_DATABASE__URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS note (id bigint GENERATED ALWAYS AS IDENTITY, text text)")
    await connection.close()


def serve() -> None:
    if os.environ.get("DUMMY_FAILS") == sys.argv[1]:
        sys.exit("the dummy was told to fail")
    server = HTTPServer(("127.0.0.1", int(os.environ["BATON_HTTP__OPS_PORT"])), Health)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


asyncio.run(migrate()) if sys.argv[1] == "migrate" else serve()

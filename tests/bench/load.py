"""A load generator that costs little: prepared bytes over kept-alive connections, closed loop or open loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Outcome:
    """What a run of load met. Latencies in seconds; in an open loop from the scheduled time."""

    seconds: float = 0.0
    answers: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def good(self) -> int:
        """Answers with 2xx."""
        return sum(count for status, count in self.answers.items() if 200 <= status < 300)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    def percentile(self, p: float) -> float:
        """Return a latency percentile in milliseconds."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(len(found) * p / 100))] * 1000


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time; reads answers with Content-Length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class, no subclass of it

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) >= length:
            self.buffer = rest[length:]
            if self.answer is not None and not self.answer.done():
                self.answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> int:
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


async def _connect(port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return connection


def request(path: str, body: bytes, headers: Sequence[tuple[str, str]], *, port: int) -> bytes:
    """Return the bytes of one POST."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def closed_loop(port: int, requests: Sequence[bytes], *, connections: int) -> Outcome:
    """Send all requests as fast as the connections get their answers."""
    outcome = Outcome()
    waiting = iter(requests)

    async def work() -> None:
        connection = await _connect(port)
        for one in waiting:
            began = time.perf_counter()
            status = await connection.ask(one)
            outcome.latencies.append(time.perf_counter() - began)
            outcome.answers[status] = outcome.answers.get(status, 0) + 1
        assert connection.transport is not None
        connection.transport.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def open_loop(
    port: int,
    requests: Sequence[bytes],
    *,
    rate: float,
    connections: int = 64,
    on_send: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Send request n at n/rate seconds, whatever the answers do; latency counts from that time."""
    outcome = Outcome()
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await _connect(port))
    # The loop's own clock has a resolution of one millisecond.
    start = time.perf_counter() + 0.05

    async def one(n: int, due: float) -> None:
        connection = await idle.get()
        status = await connection.ask(requests[n])
        outcome.latencies.append(time.perf_counter() - due)
        outcome.answers[status] = outcome.answers.get(status, 0) + 1
        idle.put_nowait(connection)

    tasks = []
    for n in range(len(requests)):
        due = start + n / rate
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        if on_send is not None:
            on_send(n, due)
        tasks.append(asyncio.create_task(one(n, due)))
    await asyncio.gather(*tasks)
    outcome.seconds = time.perf_counter() - start
    while not idle.empty():
        connection = idle.get_nowait()
        assert connection.transport is not None
        connection.transport.close()
    return outcome

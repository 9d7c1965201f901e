"""`baton doctor`: for each dependency, what is wrong and what to do."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import typer
from aiokafka.errors import KafkaError

from baton.catalogue import TOPICS
from baton_cli import output
from baton_cli.client import call, pages, reason_of, settings_of, trust
from baton_cli.kafka import kafka_settings, unreachable
from baton_cli.output import Failed, Json, clean
from baton_cli.settings import SERVICES, Settings
from baton_kit import broker
from baton_kit.topics import ActionKind, plan_topics

LARGEST_BODY = 256 * 1024
SOON_DAYS = 14
LONGEST_WAIT_S = 60
INTERNAL = ("/v1/leads", "/v1/sources", "/v1/ops/relay", "/metrics", "/readyz", "/openapi.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `wrong` is empty when all is well; `advice` says what to do."""

    what: str
    wrong: str = ""
    advice: str = ""


def doctor(
    ctx: typer.Context,
    *,
    public_url: Annotated[
        str | None, typer.Option(help="The address that providers call: its TLS, reach and limits are checked.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at every dependency, and say for each what is wrong and what to do. Exit code 1 where something is.

    Examples: `baton doctor` · `baton doctor --public-url https://leads.example.com`
    """
    settings = settings_of(ctx)
    if public_url is not None:
        _host(public_url)
    with output.progress("looking at services, outboxes and Kafka"):
        found = [*_settings(settings)]
        for service in SERVICES:
            found += _service(settings, service)
        found += _kafka(settings)
        if public_url is not None:
            found += public(public_url)
    wrong = [finding for finding in found if finding.wrong]
    if as_json:
        output.json_value(
            {
                "well": not wrong,
                "findings": [{"what": f.what, "well": not f.wrong, "wrong": f.wrong, "do": f.advice} for f in found],
            }
        )
    else:
        for finding in found:
            if not finding.wrong:
                output.line(f"well   {finding.what}", style="green")
                continue
            output.line(f"WRONG  {finding.what}: {finding.wrong}", style="bold red")
            if finding.advice:
                output.line(f"       {finding.advice}")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(found)} things are wrong")


def _settings(settings: Settings) -> list[Finding]:
    if settings.readable_by_others:
        return [Finding("settings", f"{settings.file} can be read by others", f"chmod 600 {settings.file}")]
    if settings.api_key is None:
        return [Finding("settings", "no API key is set", "Set BATON_API_KEY, or `api_key` in cli.json.")]
    return [Finding(f"settings ({settings.file or 'environment'})")]


def _service(settings: Settings, service: str) -> list[Finding]:
    found = [_readiness(f"{service} {role}", url) for role, url in settings.ops_urls[service].items()]
    api = _try(f"{service} API", lambda: _reach(settings, service))
    if api.wrong:
        # Whatever else would be asked of it is away for the same reason.
        return [*found, api]
    parked = _try(f"{service} parked events", lambda: _parked(settings, service))
    found += [api, parked, _try(f"{service} outbox", lambda: _outbox(settings, service))]
    if service == "lead-intake":
        found.append(_try("lead-intake lookups at providers", lambda: _lookups(settings)))
        found.append(_try("lead-intake ledger", lambda: _ledger(settings)))
    return found


def _readiness(role: str, url: str) -> Finding:
    what = f"{role} at {url}"
    try:
        checks = httpx2.get(f"{url}/readyz?verbose", timeout=5, trust_env=False, verify=trust()).json()
        # Notes say how something stands; what needs a person among them is asked of the API.
        bad = {name: reason for name, reason in checks.items() if reason != "ok" and name != "notes"}
    except (httpx2.HTTPError, ValueError, AttributeError) as error:
        advice = "Is it running? `make up` starts the local stack; its log says why it ended."
        return Finding(what, f"does not answer ({reason_of(error)})", advice)
    advice = "It waits by itself and goes on when this is over." if bad else ""
    return Finding(what, "; ".join(f"{name}: {reason}" for name, reason in bad.items()), advice)


def _reach(settings: Settings, service: str) -> None:
    call(settings, service, "GET /v1/ops/relay")


def _parked(settings: Settings, service: str) -> Finding | None:
    waiting = call(settings, service, "GET /v1/ops/parked", params={"limit": 200})["items"]
    if not waiting:
        return None
    return Finding(
        f"{service} parked events",
        f"{len(waiting)}{'+' if len(waiting) == 200 else ''} events wait for a person",
        "`baton parked list` shows them; replay or skip them.",
    )


def _ledger(settings: Settings) -> Finding | None:
    if call(settings, "lead-intake", "GET /v1/receipts/balance")["balanced"]:
        return None
    advice = "`baton receipts balance` shows where; see the runbook, Ledger."
    return Finding("lead-intake ledger", "does not add up: entries are not accounted for", advice)


def _outbox(settings: Settings, service: str) -> Finding | None:
    for lane in call(settings, service, "GET /v1/ops/relay"):
        if lane.get("waiting") and lane.get("oldest_at"):
            age = (datetime.now(UTC) - datetime.fromisoformat(lane["oldest_at"])).total_seconds()
            if age > LONGEST_WAIT_S:
                return Finding(
                    f"{service} outbox ({lane['lane']})",
                    f"{lane['waiting']} events wait, the oldest for {age:.0f} s",
                    "Is the worker running, and does Kafka answer? `baton relay status`",
                )
    return None


def _lookups(settings: Settings) -> Finding | None:
    states = {
        s["id"]: s["fetching"] for s in pages(settings, "lead-intake", "/v1/sources", limit=1000) if s.get("fetching")
    }
    bad = {id: state for id, state in states.items() if state.get("state") in ("token_invalid", "no_token")}
    if not bad:
        return None
    told = [
        f"{id}: {state['state']}" + (f" since {state['since']}" if state.get("since") else "") +
        f" ({state.get('waiting') or 0} wait)"
        for id, state in bad.items()
    ]  # fmt: skip
    return Finding(
        "lead-intake lookups at providers",
        "; ".join(told),
        "`baton source show ID` says what to do; `baton source credential set ID access_token --file FILE`.",
    )


def _try(what: str, look: Callable[[], Finding | None]) -> Finding:
    try:
        return look() or Finding(what)
    except Failed as failure:
        return Finding(what, failure.message, failure.advice[0] if failure.advice else "")


def _kafka(settings: Settings) -> list[Finding]:
    kafka = kafka_settings(settings)

    async def look() -> Finding | None:
        admin = broker.admin(kafka, client_id="baton.doctor")
        try:
            async with asyncio.timeout(10):
                await admin.start()
                plan = await plan_topics(admin, list(TOPICS.values()), prefix=kafka.topic_prefix)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unreachable(kafka, error) from None
        finally:
            await admin.close()
        if plan:
            warned = all(action.kind is ActionKind.WARNING for action in plan)
            advice = "See docs/runbook.md." if warned else "`baton topics apply` does it."
            return Finding("Kafka topics", "; ".join(f"{a.topic}: {a.detail}" for a in plan), advice)
        return None

    return [_try(f"Kafka at {kafka.bootstrap_servers}", lambda: asyncio.run(look()))]


def public(url: str) -> list[Finding]:
    """Look at the address that providers call, from here: TLS, reach, body limit, and that nothing else is there."""
    base = url.rstrip("/")
    scheme, host, port = _host(base)
    if scheme == "https":
        found = [_certificate(host, port)]
    else:
        found = [Finding(f"TLS of {base}", "the address is not https", "Providers refuse it: put TLS in front.")]
    try:
        answer = httpx2.get(f"{base}/v1/webhooks/doctor", timeout=10, trust_env=False, verify=trust())
    except httpx2.HTTPError as error:
        return [*found, Finding(f"reach of {base}", reason_of(error), "Check DNS, firewall and proxy.")]
    reached = answer.status_code == 200
    found.append(
        Finding(
            f"reach of {base}/v1/webhooks",
            "" if reached else f"answered {answer.status_code}",
            "" if reached else "The proxy must pass /v1/webhooks/… on to the public listener of lead-intake.",
        )
    )
    found.append(_limit(base))
    return found + [_hidden(base, path) for path in INTERNAL]


def _host(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a web address. Anything else is wrong usage."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise typer.BadParameter(f"{clean(url)} is no http or https address", param_hint="--public-url")
    return parts.scheme, host, port


def _certificate(host: str, port: int) -> Finding:
    what = f"TLS of {host}"
    try:
        with (
            socket.create_connection((host, port), timeout=10) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Finding(what, error.verify_message, "Providers refuse such a certificate: renew or complete its chain.")
    except OSError as error:
        return Finding(what, reason_of(error), "Check DNS, firewall and proxy.")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = (until - datetime.now(UTC)).days
    if days < SOON_DAYS:
        return Finding(what, f"the certificate ends in {days} days", "Renew it, and see that renewal runs by itself.")
    return Finding(what)


def _limit(base: str) -> Finding:
    """A body of the largest size reaches the service, which does not know its sender; a larger one does not."""
    what = f"body limit of {base}"
    try:
        largest = _deliver(base, LARGEST_BODY)
    except httpx2.HTTPError as error:
        return Finding(what, f"a body of 256 KiB breaks off ({reason_of(error)})", "The proxy must take 256 KiB.")
    if largest == 413:
        return Finding(what, "a body of 256 KiB is too large for it", "The proxy must take 256 KiB.")
    try:
        larger = _deliver(base, LARGEST_BODY + 1)
    except httpx2.HTTPError:
        return Finding(what)  # the connection was closed on the oversized body: refused as well
    if (largest, larger) == (401, 413):
        return Finding(what)
    wrong = f"a body of 256 KiB is answered with {largest}, a larger one with {larger}, instead of 401 and 413"
    return Finding(what, wrong, "The proxy must pass bodies on whole, and answers back as they are.")


def _deliver(base: str, size: int) -> int:
    answer = httpx2.post(f"{base}/v1/webhooks/doctor", content=b"x" * size, timeout=30, trust_env=False, verify=trust())
    return answer.status_code


def _hidden(base: str, path: str) -> Finding:
    what = f"{path} from outside"
    try:
        answer = httpx2.get(f"{base}{path}", timeout=10, trust_env=False, verify=trust())
    except httpx2.HTTPError:
        return Finding(what)
    if answer.status_code in (403, 404, 405):
        return Finding(what)
    return Finding(
        what,
        f"answered {answer.status_code}: internal APIs can be reached from outside",
        "Point the proxy at the public listener only.",
    )

"""Kill each service at every named place of its own, ask again as the sender would, and compare with a run without.

Each story (`stories.py`) is told three times without a crash: not yet, once, and once more by a sender that repeats.
A service that died anywhere left one of the first two behind, or the end of a step where it commits in steps, never
anything between; asked again it ends as the run that was never disturbed does, in every row of every table and every
event.
"""

import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from forks import SERVICES, Nursery, nursery
from scene import PATIENCE, Contents, Scene, administer, ids_in, scene
from stories import STORIES, Story, now
from test_crash_points import API, KIT, LENT, REPLAY, WORKER, died_at, failpoints

from baton_kit.testing import Server, open_harness

ROOT = Path(__file__).parents[2]
CASES = [(story, place) for story in STORIES for place in story.places]


def name_of(place: str) -> str:
    return place.partition(":")[0]


def cases() -> Iterator[Any]:
    """One case a place; where a name was met before, in another story, only the long run kills it once more."""
    met = set[tuple[str, str]]()
    for story, place in CASES:
        marks = [pytest.mark.long] if (story.service, name_of(place)) in met else []
        met.add((story.service, name_of(place)))
        yield pytest.param(story, place, marks=marks, id=f"{story.service}-{story.name.replace(' ', '-')}-{place}")


def sources() -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(ROOT.glob("services/*/src"))}


def lent(sources: Path) -> set[str]:
    """The kit's failpoints in what these sources call: `edges.after_learn` where `edges.learn` is."""
    text = "\n".join(path.read_text() for path in sorted(sources.rglob("*.py")))
    return {name for name in LENT if name.replace(".after_", ".") + "(" in text}


def test_every_failpoint_of_the_services_is_killed_by_a_case() -> None:
    killed = {service: set[str]() for service in sources()}
    for story, place in CASES:
        killed[story.service].add(name_of(place))
    assert {service: failpoints(path) | lent(path) for service, path in sources().items()} == killed


def test_no_failpoint_stands_where_no_case_looks() -> None:
    for folder in (ROOT / "libs", ROOT / "cli", ROOT / "deploy", ROOT / "demo"):
        for path in folder.glob("**/src"):
            assert failpoints(path) <= ({*WORKER, *REPLAY, *API, *LENT} if KIT.is_relative_to(path) else set())


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A story's prepared database, and what it holds before, after and after a repeat, without a crash.

    `steps` is what it holds between the commits of a role that commits in steps.
    """

    template: str
    key: str
    known: Any
    before: Contents
    steps: Sequence[Contents]
    once: Contents
    again: Contents


class Theatre:
    """Tells stories on real servers; what is the same for every place of a story is done once."""

    def __init__(self, server: Server, kafka: str, nursery: Nursery, directory: Path) -> None:
        self.server, self.kafka, self.nursery, self.directory = server, kafka, nursery, directory
        self._undisturbed: dict[tuple[str, str], Undisturbed] = {}

    async def undisturbed(self, story: Story) -> Undisturbed:
        told = (story.service, story.name)
        if told not in self._undisturbed:
            self._undisturbed[told] = await self._rehearse(story)
        return self._undisturbed[told]

    async def _rehearse(self, story: Story) -> Undisturbed:
        template = f"story_{STORIES.index(story)}_{os.getpid()}"
        service = importlib.import_module(SERVICES[story.service]).SERVICE
        overrides = {"public_url": story.env["BATON_PUBLIC_URL"]} if "BATON_PUBLIC_URL" in story.env else {}
        async with open_harness(service, self.server, at=now() - story.since, **overrides) as harness:
            known = await story.given(harness)
            # The topics of each scene are new ones.
            await harness.fetch("DELETE FROM consumer_offset")
            [row] = await harness.fetch("SELECT current_database() AS name")
            # A database that anybody is connected to cannot be copied.
            await harness.db.close()
            await administer(self.server, f'CREATE DATABASE "{template}" TEMPLATE "{row["name"]}"')
            key = harness.operator_key
        async with self.stage(story, template, key, known=known) as on:
            before = await on.contents()
            ids = ids_in(before)
            await prepare(story, on)
            answer = await tell(story, on)
            once = await on.contents(known_ids=ids)
            again = once
            if not needs_kafka(story):
                repeated = await tell(story, on)
                again = await on.contents(known_ids=ids)
                # What a sender is told twice is the same, unless repeating is an error that changes nothing.
                assert repeated == answer or again == once
            else:
                await on.told()
        assert once != before, "nothing happened"
        assert again["outbox"] == once["outbox"], "a repeat told on more"
        steps = []
        for place in story.steps:
            async with self.stage(story, template, key, known=known) as on:
                await prepare(story, on)
                await tell_until_death(story, on, place)
                steps.append(await on.contents(known_ids=ids))
                assert steps[-1] not in (before, once), f"{place} is not behind a step"
        return Undisturbed(template, key, known, before, steps, once, again)

    @contextlib.asynccontextmanager
    async def stage(self, story: Story, template: str, key: str, *, known: Any) -> AsyncIterator[Scene]:
        async with contextlib.AsyncExitStack() as stack:
            env = dict(story.env)
            if story.beside is not None:
                env |= await stack.enter_async_context(story.beside())
            yield await stack.enter_async_context(scene(
                self.server, template, self.nursery, service=story.service, argv=story.argv, env=env, key=key,
                known=known, bootstrap=self.kafka if needs_kafka(story) else "127.0.0.1:1", directory=self.directory,
                aside=story.aside,
            ))  # fmt: skip


def needs_kafka(story: Story) -> bool:
    return story.argv == ("worker",)


def groups(story: Story) -> Sequence[tuple[str, Sequence[str]]]:
    service = importlib.import_module(SERVICES[story.service]).SERVICE
    return [(s.group, s.topics) for s in service.subscriptions]


async def prepare(story: Story, on: Scene) -> None:
    if needs_kafka(story):
        await on.make_topics()
        if story.events is not None:
            await on.publish(story.events(on.known))


async def tell(story: Story, on: Scene) -> Any:
    """Start the role, ask it what the story asks, and end it; returns what the sender was told."""
    role = on.role
    if story.act is not None:
        if role.returncode is not None or role.popen is None:
            role.start()
            await role.ready(within=PATIENCE)
        return (await story.act(on)).status_code
    role.start()
    if needs_kafka(story):
        await on.through(story.through, groups(story))
        return None
    return await role.ended(within=PATIENCE)


async def tell_until_death(story: Story, on: Scene, place: str) -> None:
    role = on.role
    role.start(BATON_FAILPOINT=place)
    if story.act is not None:
        await role.ready(within=PATIENCE)
        with contextlib.suppress(httpx2.HTTPError):
            await story.act(on)
    await died_at(role, place)
    if needs_kafka(story):
        await on.bury([group for group, _ in groups(story)])


@pytest.fixture(scope="module")
def theatre(postgres_server: Server, kafka_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with nursery() as forking:
        yield Theatre(postgres_server, kafka_server.bootstrap_servers, forking, tmp_path_factory.mktemp("roles"))


@pytest.mark.parametrize(("story", "place"), list(cases()))
async def test_a_service_killed_there_ends_as_if_it_had_not_been(theatre: Theatre, story: Story, place: str) -> None:
    run = await theatre.undisturbed(story)
    ids = ids_in(run.before)
    async with theatre.stage(story, run.template, run.key, known=run.known) as on:
        await prepare(story, on)
        await tell_until_death(story, on, place)
        left = await on.contents(known_ids=ids)
        assert left in (run.before, *run.steps, run.once), "the crash left half of it behind"
        await tell(story, on)
        assert await on.contents(known_ids=ids) == (run.again if left == run.once else run.once)
        if needs_kafka(story):
            await on.told()

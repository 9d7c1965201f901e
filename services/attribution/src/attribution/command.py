"""`python -m attribution rebuild [--verify]`, for operators."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from attribution import store
from attribution.rebuild import AlreadyRebuilding, rebuild, verify

if TYPE_CHECKING:
    from attribution.app import App


async def rebuild_command(app: "App", arguments: list[str]) -> int:
    """Rebuild, or compare; prints one JSON object. 0 done or identical, 1 different or refused, 2 called wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m attribution rebuild",
        description="Compute all credits anew from the facts and put them in the place of the present ones.",
    )
    parser.add_argument("--verify", action="store_true", help="change nothing; compare and list every difference")
    parser.add_argument("--lookback-days", help="count touches of so many days before the close; `none`: all")
    parser.add_argument("--half-life-hours", type=int, help="half-life of time decay")
    try:
        asked = parser.parse_args(arguments)
        if asked.verify and (asked.lookback_days or asked.half_life_hours is not None):
            parser.error("--verify compares under the parameters in use")
        changes: dict[str, Any] = {}
        if asked.lookback_days is not None:
            changes["lookback_days"] = None if asked.lookback_days == "none" else int(asked.lookback_days)
        if asked.half_life_hours is not None:
            changes["half_life_hours"] = asked.half_life_hours
        async with app.db.begin() as tx:
            present = (await store.current_projection(tx)).parameters
        # Checked here as well, so that a wrong value is an error of the call.
        parameters = dataclasses.replace(present, **changes)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except SystemExit as leaving:
        return int(leaving.code or 0)

    if asked.verify:
        found = await verify(app)
        print(json.dumps({"identical": found.identical, **dataclasses.asdict(found)}))  # noqa: T201
        return 0 if found.identical else 1
    try:
        done = await rebuild(app, parameters)
    except AlreadyRebuilding:
        print("Another rebuild is under way; wait for its end.", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(dataclasses.asdict(done)))  # noqa: T201
    return 0

"""What the routes answer with when they cannot, and what their paths are made of."""

from typing import Annotated, Any

from fastapi import Path, Request

from baton_agreement.document import DocumentRefused
from baton_kit.problems import Problem
from qualification.app import App

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the canonical bytes, lower-case hex.")]
LeadId = Annotated[str, Path(min_length=1, max_length=200, pattern="^[^\\x00]+$")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "No valid API key.",
        403: "The key lacks the scope.",
        404: "Nothing is known under this name.",
        409: "Not possible in the present state; the detail says what is.",
        422: "The request is not valid; `errors` name the places.",
    }.items()
}


def only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: PROBLEMS[status] for status in (401, 403, *statuses)}


def app_of(request: Request) -> App:
    app: App = request.app.state.baton
    return app


def not_found(what: str) -> Problem:
    return Problem(404, f"No such {what}", detail="Check the id; it is known once its event has arrived.")


def refusal(refused: DocumentRefused) -> Problem:
    errors = [
        {
            "pointer": flaw.pointer,
            "detail": flaw.detail,
            **({"line": flaw.line} if flaw.line else {}),
            **({"column": flaw.column} if flaw.column else {}),
        }
        for flaw in refused.flaws[:100]
    ]
    return Problem(
        422,
        "The agreement is not valid",
        detail="Correct the places named in `errors` and propose it again.",
        errors=errors,  # type: ignore[arg-type]  # lines and columns are numbers
    )

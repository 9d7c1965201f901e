"""A server on this machine that speaks what is documented of the providers' APIs, and fails as they do when told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "token-of-a-system-user"

META_LEAD = {
    "created_time": "2026-03-02T08:00:00+0000",
    "platform": "ig",
    "is_organic": False,
    "ad_id": "120210987650010",
    "ad_name": "Demo ad B",
    "adset_id": "120210987650009",
    "adset_name": "Lookalike 2%",
    "campaign_id": "120210987650001",
    "campaign_name": "Spring demo",
    "form_id": "733300112233445",
    "custom_disclaimer_responses": [{"checkbox_key": "marketing_optin", "is_checked": "1"}],
}
LINKEDIN_FORM = {
    "id": 112233,
    "versionId": 1,
    "hiddenFields": [{"name": "utm_campaign", "value": "spring"}],
    "content": {
        "questions": [
            {"questionId": 1, "predefinedField": "FIRST_NAME", "questionDetails": {"textQuestionDetails": {}}},
            {"questionId": 2, "predefinedField": "EMAIL", "questionDetails": {"textQuestionDetails": {}}},
            {
                "questionId": 3,
                "name": "Team size",
                "question": {"localized": {"en_US": "How many are you?"}},
                "questionDetails": {
                    "multipleChoiceQuestionDetails": {
                        "options": [
                            {"id": 1, "text": {"localized": {"en_US": "1-10"}}},
                            {"id": 2, "text": {"localized": {"en_US": "11-50"}}},
                        ]
                    }
                },
            },
        ]
    },
}


def meta_lead(id: str, email: str, **more: Any) -> dict[str, Any]:
    told = {"full_name": "Anna Petrova", "email": email, "phone_number": "+34600112233", "which_plan?": "team_plan"}
    return {"id": id, **META_LEAD, "field_data": [{"name": n, "values": [v]} for n, v in told.items()], **more}


def linkedin_lead(id: str, email: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "leadType": "SPONSORED",
        "testLead": False,
        "submittedAt": 1772438400000,
        "submitter": "urn:li:person:aBcDeFg",
        "owner": {"sponsoredAccount": "urn:li:sponsoredAccount:508812345"},
        "versionedLeadGenFormUrn": "urn:li:versionedLeadGenForm:(urn:li:leadGenForm:112233,1)",
        "associatedEntity": {"associatedCreative": "urn:li:sponsoredCreative:330044551"},
        "leadMetadata": {"sponsoredLeadMetadata": {"campaign": "urn:li:sponsoredCampaign:440011"}},
        "formResponse": {
            "answers": [
                {"questionId": 1, "answerDetails": {"textQuestionAnswer": {"answer": "Anna"}}},
                {"questionId": 2, "answerDetails": {"textQuestionAnswer": {"answer": email}}},
                {"questionId": 3, "answerDetails": {"multipleChoiceAnswer": {"options": [2]}}},
            ],
            "consentResponses": [{"consentId": 1, "accepted": True}],
        },
        **more,
    }


@dataclass
class Providers:
    """What the providers hold, what they answer next instead, and what they were asked."""

    leads: dict[str, dict[str, Any]] = field(default_factory=dict)
    forms: dict[str, dict[str, Any]] = field(default_factory=lambda: {"112233": LINKEDIN_FORM})
    exports: dict[str, bytes] = field(default_factory=dict)
    token: str = TOKEN
    page_size: int = 2
    polls_until_done: int = 0
    next: deque[Callable[[Request], Response]] = field(default_factory=deque)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    usage: dict[str, str] = field(default_factory=dict)
    slow: asyncio.Event | None = None
    url: str = ""

    def fails(self, status: int, body: Any, **headers: str) -> None:
        """Answer the next request so."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.next.append(lambda _: Response(content, status, named, "application/json"))

    def asked_for(self, part: str) -> int:
        return sum(part in path for path, _, _ in self.asked)


def graph_error(code: int, **more: Any) -> dict[str, Any]:
    return {"error": {"message": "(#code) text of Meta's", "type": "OAuthException", "code": code, **more}}


@contextlib.asynccontextmanager
async def open_providers() -> AsyncIterator[Providers]:
    providers = Providers()

    def route(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def serve(request: Request) -> Response:
            providers.asked.append((request.url.path, request.scope["query_string"].decode(), dict(request.headers)))
            if providers.slow is not None:
                await providers.slow.wait()
            await request.body()
            return providers.next.popleft()(request) if providers.next else answer(request)

        return serve

    def graph_lead(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {providers.token}":
            return JSONResponse(graph_error(190, error_subcode=463), 400)
        lead = providers.leads.get(request.path_params["id"])
        if lead is None:
            return JSONResponse(graph_error(100, error_subcode=33), 400)
        wanted = request.query_params["fields"].split(",")
        return JSONResponse({k: v for k, v in lead.items() if k in wanted}, headers=providers.usage)

    def graph_leads(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {providers.token}":
            return JSONResponse(graph_error(190), 400)
        [newer] = json.loads(request.query_params["filtering"])
        assert (newer["field"], newer["operator"]) == ("time_created", "GREATER_THAN")
        form_id = request.path_params["id"]
        of_form = [lead for lead in providers.leads.values() if lead["form_id"] == form_id]
        return graph_page(request, of_form)

    def graph_forms(request: Request) -> Response:
        return graph_page(
            request, [{"id": id} for id in sorted({lead["form_id"] for lead in providers.leads.values()})]
        )

    def graph_page(request: Request, items: list[dict[str, Any]]) -> Response:
        start = int(request.query_params.get("after", "0"))
        end = start + providers.page_size
        body: dict[str, Any] = {"data": items[start:end], "paging": {"cursors": {"after": str(end)}}}
        if end < len(items):
            body["paging"]["next"] = "http://127.0.0.1:1/never-followed?access_token=x"
        return JSONResponse(body, headers=providers.usage)

    def linkedin_response(request: Request) -> Response:
        assert request.headers["x-restli-protocol-version"] == "2.0.0"
        assert request.headers["linkedin-version"] == "202610"
        if request.headers["authorization"] != f"Bearer {providers.token}":
            return JSONResponse({"status": 401, "code": "EXPIRED_ACCESS_TOKEN"}, 401)
        lead = providers.leads.get(request.path_params["id"])
        return JSONResponse(lead) if lead else JSONResponse({"status": 404}, 404)

    def linkedin_form(request: Request) -> Response:
        form = providers.forms.get(request.path_params["id"])
        return JSONResponse(form) if form else JSONResponse({"status": 404}, 404)

    def linkedin_responses(request: Request) -> Response:
        query = request.scope["query_string"].decode()
        assert "owner=(sponsoredAccount:urn%3Ali%3AsponsoredAccount%3A508812345)" in query
        assert "leadType=(leadType:SPONSORED)" in query
        assert "submittedAtTimeRange=(start:" in query
        start = int(parse_qs(query)["start"][0])
        found = list(providers.leads.values())
        page = found[start : start + providers.page_size]
        return JSONResponse({"elements": page, "paging": {"start": start, "total": len(found)}})

    def contact(request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {providers.token}":
            return JSONResponse({"status": "error", "category": "INVALID_AUTHENTICATION"}, 401)
        found = providers.leads.get(request.path_params["id"])
        if found is None:
            return JSONResponse({"status": "error"}, 404)
        wanted = request.query_params["properties"].split(",")
        told = {name: found.get(name) for name in wanted}
        body = {"id": request.path_params["id"], "properties": told, "createdAt": "2020-01-01T00:00:00Z"}
        return JSONResponse(body, headers=providers.usage)

    def tiktok_lead(request: Request) -> Response:
        if request.headers["access-token"] != providers.token:
            return JSONResponse({"code": 40105, "message": "Access token is incorrect or has been revoked."})
        return JSONResponse({"code": 0, "data": providers.leads[request.query_params["lead_id"]]})

    def tiktok_task(request: Request) -> Response:
        providers.polls_until_done -= 1
        status = "RUNNING" if providers.polls_until_done >= 0 else "SUCCEED"
        return JSONResponse({"code": 0, "data": {"task_id": "7001", "status": status}})

    def tiktok_download(request: Request) -> Response:
        region = request.headers.get("x-lead-region", "")
        return Response(providers.exports.get(region, b""), media_type="text/csv")

    app = Starlette(
        routes=[
            Route("/v25.0/{id}", route(graph_lead)),
            Route("/v25.0/{id}/leads", route(graph_leads)),
            Route("/v25.0/{id}/leadgen_forms", route(graph_forms)),
            Route("/rest/leadFormResponses/{id}", route(linkedin_response)),
            Route("/rest/leadForms/{id}", route(linkedin_form)),
            Route("/rest/leadFormResponses", route(linkedin_responses)),
            Route("/crm/v3/objects/contacts/{id}", route(contact)),
            Route("/open_api/v1.3/lead/get/", route(tiktok_lead)),
            Route("/open_api/v1.3/page/lead/task/", route(tiktok_task), methods=["POST"]),
            Route("/open_api/v1.3/page/lead/task/download/", route(tiktok_download)),
        ]
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
        providers.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield providers
        finally:
            if providers.slow is not None:
                providers.slow.set()
            server.should_exit = True
            await serving

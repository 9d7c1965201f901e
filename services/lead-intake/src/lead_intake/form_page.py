"""A form of one page for the phone at the stand of an exhibition, in English and Russian.

It is served to whoever has the token of a source with `form_page`, and posts to its own address, where it goes the way
of every other delivery. Everything it needs is in it: no script or style from elsewhere, nothing that the browser may
keep, and nothing of a request is ever written into an answer. A double tap or a repeated post is one entry.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final

from baton_kit.ids import new_id
from lead_intake.delivery import Reply, Source

_STYLE = """
:root{color-scheme:light dark;font:18px/1.5 system-ui,sans-serif}
html{background:#fff;color:#1a1a1a}
body{margin:0 auto;max-width:34rem;padding:1rem}
a{color:#0b5394;display:inline-block;padding:.6rem 0}
h1{font-size:1.5rem;margin:.5rem 0 1rem}
label{display:block;font-weight:600;margin-top:1rem}
input,textarea,button{box-sizing:border-box;font:inherit;padding:.6rem;width:100%;border:2px solid GrayText;
border-radius:.4rem;background:Field;color:FieldText}
input:focus-visible,textarea:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid Highlight;
outline-offset:2px}
.box{display:grid;grid-template-columns:auto 1fr;gap:.6rem;align-items:start;font-weight:400}
.box input{width:1.5rem;height:1.5rem}
button{margin-top:1.5rem;background:#0b5394;border-color:#0b5394;color:#fff;font-weight:600;min-height:3rem}
.note{border-left:.4rem solid;padding:.5rem 1rem}
@media (prefers-color-scheme:dark){html{background:#121212;color:#eee}a{color:#9ecbff}}
"""
# Without the script the server says the same after the post.
_SCRIPT = """
const form=document.forms[0];
if(form){const m=form.email,p=form.phone;
const check=()=>m.setCustomValidity(m.value.trim()||p.value.trim()?"":form.dataset.reach);
for(const f of[m,p])f.addEventListener("input",check);check();
form.addEventListener("submit",()=>{form.querySelector("button").disabled=true});
addEventListener("pageshow",()=>{form.querySelector("button").disabled=false})}
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


HEADERS: Final = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
        # The address holds the token.
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex",
    }.items()
)

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Leave us your contact",
        "name": "Name",
        "company": "Company",
        "position": "Position",
        "email": "E-mail",
        "phone": "Phone",
        "message": "What are you interested in?",
        "consent_marketing": "I agree to receive news and offers. I can withdraw this at any time.",
        "privacy": "Privacy notice",
        "send": "Send",
        "hint": "An e-mail address or a phone number is needed.",
        "sent": "Thank you. Your contact has been received.",
        "again": "Next contact",
        "unreachable": "We cannot reach you with this: an e-mail address or a phone number is missing or mistyped.",
        "back": "Go back with your browser: what you typed is still there.",
        "busy": "It was not saved. Please go back and send it again in a moment.",
        "other": "По-русски",
    },
    "ru": {
        "title": "Оставьте ваши контакты",
        "name": "Имя и фамилия",
        "company": "Компания",
        "position": "Должность",
        "email": "Электронная почта",
        "phone": "Телефон",
        "message": "Что вас интересует?",
        "consent_marketing": "Согласен получать новости и предложения. Согласие можно отозвать в любой момент.",
        "privacy": "Политика обработки персональных данных",
        "send": "Отправить",
        "hint": "Нужен адрес электронной почты или телефон.",
        "sent": "Спасибо. Ваши контакты получены.",
        "again": "Следующий контакт",
        "unreachable": "Так мы не сможем с вами связаться: адрес почты или телефон не указан или указан с ошибкой.",
        "back": "Вернитесь назад в браузере: всё введённое сохранилось.",
        "busy": "Данные не сохранены. Вернитесь назад и отправьте ещё раз через минуту.",
        "other": "In English",
    },
}
# Each with its name, its type, what the browser may fill in, and its limits.
_INPUTS = (
    ("name", "text", "name", "required maxlength=200"),
    ("company", "text", "organization", "maxlength=200"),
    ("position", "text", "organization-title", "maxlength=200"),
    ("email", "email", "email", 'maxlength=254 aria-describedby="hint"'),
    ("phone", "tel", "tel", 'maxlength=60 aria-describedby="hint"'),
)


def language(query: str, accepted: str) -> str:
    """`en` or `ru`: what the link asks for, else the first of the two that the browser accepts."""
    for code in WORDS:
        if f"lang={code}" in query.split("&"):
            return code
    preferred = (part.strip()[:2].lower() for part in accepted[:200].split(","))
    return next((code for code in preferred if code in WORDS), "en")


def form(source: Source, lang: str) -> Reply:
    """The empty form, with an id of its own so that sending it twice makes one entry."""
    words = WORDS[lang]
    rows = "".join(
        f'<label for="{name}">{words[name]}</label>'
        f'<input id="{name}" name="{name}" type="{kind}" autocomplete="{auto}" {more}>'
        for name, kind, auto, more in _INPUTS
    )
    hidden = {
        "submission_id": new_id(),
        "language": lang,
        "utm_source": source.id,
        "utm_medium": "event",
        "utm_campaign": str(source.settings.get("form_campaign", "")),
    }
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in hidden.items() if value
    )
    privacy = str(source.settings.get("form_privacy_url", ""))
    link = f'<p><a href="{escape(privacy)}" rel="noreferrer">{words["privacy"]}</a></p>' if privacy else ""
    other = "ru" if lang == "en" else "en"
    return _page(
        _title(source, lang),
        lang,
        f'<form method="post" accept-charset="utf-8" data-reach="{words["hint"]}">{fields}{rows}'
        f'<p id="hint">{words["hint"]}</p>'
        f'<label for="message">{words["message"]}</label>'
        '<textarea id="message" name="message" rows="3" maxlength="2000"></textarea>'
        '<label class="box"><input type="checkbox" name="consent_marketing" value="true">'
        f"<span>{words['consent_marketing']}</span></label>{link}"
        f'<button type="submit">{words["send"]}</button></form>'
        f'<p><a href="?lang={other}" lang="{other}" hreflang="{other}">{words["other"]}</a></p>',
    )


def sent(source: Source, lang: str) -> Reply:
    """The thanks, with the way to the next empty form."""
    words = WORDS[lang]
    return _page(
        _title(source, lang),
        lang,
        f'<p class="note" role="status">{words["sent"]}</p><p><a href="?lang={lang}">{words["again"]}</a></p>',
    )


def after(reply: Reply, source: Source, *, lang: str, path: bytes) -> Reply:
    """What the person sees of the door's answer; the thanks come by a redirect, so that a reload sends nothing."""
    if reply.status == 200:
        location = path + f"?sent=1&lang={lang}".encode()
        return Reply(303, b"", "text/plain", (*HEADERS, (b"location", location)))
    words = WORDS[lang]
    # The delivery waits in quarantine all the same: nothing of it is lost.
    text, status = (words["unreachable"], 422) if reply.status == 202 else (words["busy"], reply.status)
    if reply.status not in (202, 503):
        return reply
    body = f'<p class="note" role="alert">{text}</p><p>{words["back"]}</p>'
    page = _page(_title(source, lang), lang, body)
    return Reply(status, page.body, page.content_type, (*page.headers, *reply.headers))


def _title(source: Source, lang: str) -> str:
    return str(source.settings.get("form_title", "")) or WORDS[lang]["title"]


def _page(title: str, lang: str, body: str) -> Reply:
    document = (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main><script>{_SCRIPT}</script></body></html>"
    )
    return Reply(200, document.encode(), "text/html; charset=utf-8", HEADERS)

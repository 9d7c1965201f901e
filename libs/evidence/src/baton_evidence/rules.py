"""Say a rule in the language of the criteria, and in English and Russian sentences."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from baton_evidence.bins import Bins
from baton_evidence.search import Part, plainest

_SHOWN: Final = 6
_LONGEST: Final = 480


@dataclass(frozen=True, slots=True)
class Said:
    """A condition: CEL over `answers`, and a sentence in both languages."""

    when: str
    en: str
    ru: str


def said(parts: Sequence[Part], bins: Sequence[Bins], *, opposite: bool = False) -> Said:
    """Say that all parts hold, or (`opposite`) that one of them does not."""
    if opposite:
        parts = [_opposite(part, bins[part.field]) for part in parts]
    found = [_said(part, bins[part.field]) for part in parts]
    if len(found) == 1:
        return Said(found[0].when, _cut(found[0].en), _cut(found[0].ru))
    between, word_en, word_ru = (" || ", ", or ", " или ") if opposite else (" && ", ", and ", "; ")
    when = between.join(f"({one.when})" if " || " in one.when or opposite else one.when for one in found)
    return Said(when, _cut(word_en.join(one.en for one in found)), _cut(word_ru.join(one.ru for one in found)))


def _opposite(part: Part, bins: Bins) -> Part:
    others = np.flatnonzero(~np.array(part.bins))
    return Part(part.field, plainest(bins, others) or tuple(not inside for inside in part.bins))


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= _LONGEST else sentence[:_LONGEST] + "…"


def _said(part: Part, bins: Bins) -> Said:
    field = bins.field
    key, name = json.dumps(field.key, ensure_ascii=False), field.column
    known, missing = f"{key} in answers", part.bins[0]
    if all(part.bins[1:]):
        return Said(known, f"{name} is known", f"{name}: указано")
    if not any(part.bins[1:]):
        return Said(f"!({known})", f"{name} is not known", f"{name}: не указано")
    if field.kind == "category":
        return _levels(part, bins, known=known, key=key)
    return _number(part, bins, known=known, key=key, missing=missing)


def _levels(part: Part, bins: Bins, *, known: str, key: str) -> Said:
    name, missing, with_others = bins.field.column, part.bins[0], part.bins[-1]
    named = [level for level, inside in zip(bins.levels, part.bins[1:-1], strict=True) if inside != with_others]
    listed = ", ".join(json.dumps(level, ensure_ascii=False) for level in named)
    among = f"answers[{key}] == {listed}" if len(named) == 1 else f"answers[{key}] in [{listed}]"
    others = f"answers[{key}] != {listed}" if len(named) == 1 else f"!({among})"
    en, ru = _either(named, "or"), _either(named, "или")
    if not with_others:
        if missing:
            return Said(f"!({known}) || {among}", f"{name} is {en}, or not known", f"{name}: {ru} или не указано")
        return Said(f"{known} && {among}", f"{name} is {en}", f"{name}: {ru}")
    if missing:
        return Said(f"!({known} && {among})", f"{name} is not {en}", f"{name}: не {ru}")
    return Said(f"{known} && {others}", f"{name} is known, and not {en}", f"{name}: указано, но не {ru}")


def _number(part: Part, bins: Bins, *, known: str, key: str, missing: bool) -> Said:
    name, scale = bins.field.column, bins.field.scale
    inside = list(part.bins[1:])
    value = f"int(answers[{key}])"
    ends = [n for n in range(1, len(inside)) if inside[n] != inside[n - 1]]
    edges = [bins.edges[n - 1] for n in ends]
    shown = [_shown(edge, scale) for edge in edges]
    if len(edges) == 1:
        low = inside[-1]
        test = f"{value} >= {edges[0]}" if low else f"{value} < {edges[0]}"
        en, ru = (f"{shown[0]} or more", f"{shown[0]} и больше") if low else (f"below {shown[0]}", f"меньше {shown[0]}")
    elif inside[0]:
        test = f"({value} < {edges[0]} || {value} >= {edges[1]})"
        en, ru = f"below {shown[0]}, or {shown[1]} or more", f"меньше {shown[0]} либо {shown[1]} и больше"
    else:
        test = f"{value} >= {edges[0]} && {value} < {edges[1]}"
        whole = scale == 1
        if whole and edges[1] == edges[0] + 1:
            test, en, ru = f"{value} == {edges[0]}", shown[0], shown[0]
        else:
            en, ru = f"from {shown[0]} to below {shown[1]}", f"от {shown[0]} до {shown[1]} (не включая)"
    if missing:
        if " && " in test:
            test = f"({test})"
        return Said(f"!({known}) || {test}", f"{name} is {en}, or not known", f"{name}: {ru} или не указано")
    return Said(f"{known} && {test}", f"{name} is {en}", f"{name}: {ru}")


def _shown(edge: int, scale: int) -> str:
    return str(edge) if scale == 1 else f"{edge / scale:.{len(str(scale)) - 1}f}"


def _either(levels: Sequence[str], word: str) -> str:
    shown = list(levels[:_SHOWN])
    if len(levels) > _SHOWN:
        more = len(levels) - _SHOWN
        shown.append(f"{more} more" if word == "or" else f"ещё {more}")
    return f" {word} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]

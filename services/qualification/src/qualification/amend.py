"""What an amendment changes, and what of it no amendment may change: the duties marked as fixed."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from baton_agreement.document import DocumentRefused, Flaw, pointer_of

FIXABLE: Final = ("clocks", "duties")


def refuse_touched_duties(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise DocumentRefused with the path of each fixed duty or clock of `before` that `after` changes or drops.

    Both are documents as read from canonical bytes. For changes made by machine: what people write themselves and sign
    on both sides may change a fixed duty, as nobody else could ever take one out.
    """
    flaws = list(_touched(before, after))
    if flaws:
        raise DocumentRefused(flaws)


def _touched(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Flaw]:
    for section in FIXABLE:
        now = {item["id"]: (i, item) for i, item in enumerate(after.get(section, []))}
        for item in before.get(section, []):
            if not item.get("fixed", False):
                continue
            if item["id"] not in now:
                detail = f"'{item['id']}' is fixed and may not be taken out by an amendment; put it back"
                yield Flaw(pointer=pointer_of(section), detail=detail)
                continue
            i, kept = now[item["id"]]
            for key in sorted({*item, *kept}):
                if item.get(key) != kept.get(key):
                    detail = f"'{item['id']}' is fixed: its {key} may not be changed by an amendment; restore it"
                    yield Flaw(pointer=pointer_of(section, i, key), detail=detail)

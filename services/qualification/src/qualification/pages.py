"""An agreement in plain sentences, English or Russian, written from the very bytes that run."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

Language = Literal["en", "ru"]
Page = Literal["all", "marketing", "sales"]

_OWNED: Final = ("lifecycle", "stages", "duties", "clocks")

# Each key of the form in both languages; a test holds the keys against the form, so that no value goes unsaid.
LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "about": ("Concerns", "Касается"),
    "accept_percent": ("Sales accepts at least, of 100 leads", "Отдел продаж принимает не менее, из 100 лидов"),
    "accept_within": ("Sales accepts a lead within", "Отдел продаж принимает лид за"),
    "amount_from": ("From the amount (minor units)", "Начиная с суммы (в минимальных единицах)"),
    "approval": ("Approval is needed from", "Согласовать с"),
    "attempts": ("Attempts to reach the person, at least", "Попыток связаться, не менее"),
    "cap": ("The rule gives at most", "Правило даёт не более"),
    "caps": ("The most a group may give", "Предел баллов группы"),
    "clocks": ("SLA timers", "Сроки по SLA"),
    "code": ("Code", "Код"),
    "completeness_percent": ("Complete are at least, of 100 leads", "Полностью заполнены не менее, из 100 лидов"),
    "currency": ("Currency", "Валюта"),
    "deals": ("Deals to win", "Сделок к выигрышу"),
    "decision_rules": ("Who must hear and who approves", "Кого известить и кто согласует"),
    "definition": ("As the machine reads it", "Как это читает машина"),
    "department": ("Department", "Отдел"),
    "disqualifiers": ("What takes a lead out", "Что делает лид нецелевым"),
    "duties": ("Duties", "Обязанности"),
    "engagement": ("Engagement", "Вовлечённость"),
    "ends": ("Ends with", "Заканчивается событием"),
    "envelope": ("How far the agreement may move by itself", "Насколько соглашение может меняться само"),
    "exploration": ("Blind sample below the threshold", "Слепая выборка ниже проходного балла"),
    "family": ("Family", "Семейство"),
    "first_response_within": ("Sales makes the first response within", "Отдел продаж впервые связывается за"),
    "fit": ("Fit", "Соответствие профилю"),
    "fixed": ("No automatic change may touch it", "Автоматически не изменяется"),
    "format": ("Format", "Формат"),
    "gates": ("Conditions every lead must meet", "Обязательные условия"),
    "glossary": ("Glossary", "Словарь"),
    "goals": ("Common goals", "Общие цели"),
    "half_life_hours": ("The points halve every (hours)", "Баллы уменьшаются вдвое каждые (часов)"),
    "hand_over": ("Handed over are the cells", "Передаются ячейки"),
    "id": ("Named", "Имя"),
    "leads_per_week": ("Marketing hands over each week at least", "Маркетинг передаёт в неделю не менее"),
    "leads_per_week_floor": ("Leads a week never below", "Лидов в неделю никогда не менее"),
    "liaison": ("Liaison", "Контактное лицо"),
    "lifecycle": ("Lifecycle", "Жизненный цикл"),
    "lines": ("Product lines and segments", "Продуктовые линии и сегменты"),
    "marketing": ("What marketing promises", "Что обещает маркетинг"),
    "matrix": ("Fit × engagement matrix", "Матрица: соответствие × вовлечённость"),
    "measure": ("Measured by", "Показатель"),
    "minimum_sample": ("Closed outcomes needed, at least", "Нужно завершённых исходов, не менее"),
    "month": ("Month", "Месяц"),
    "name": ("Name", "Название"),
    "notify": ("Must hear of it", "Известить"),
    "owner": ("Answers for it", "Отвечает"),
    "parties": ("Who signs", "Кто подписывает"),
    "per_rep_and_week": ("For each rep and week at most", "На менеджера в неделю не более"),
    "plan": ("Plan", "План"),
    "points": ("Points", "Баллы"),
    "points_at": ("Speaks against the rules", "Указывает на правила"),
    "points_step": ("A rule's points move at most by", "Баллы правила меняются не более чем на"),
    "product": ("Product", "Продукт"),
    "rejection_reasons": ("Reasons to reject a lead", "Причины отклонения"),
    "remind_after": ("Reminder after", "Напоминание через"),
    "rep": ("Rep", "Менеджер по продажам"),
    "review_on": ("To be reviewed on", "Пересмотр"),
    "routing": ("Where a lead goes", "Куда направляется лид"),
    "segment": ("Segment", "Сегмент"),
    "share_percent": ("Share, of 100 leads", "Доля, из 100 лидов"),
    "sla": ("What sales promises", "Что обещает отдел продаж"),
    "stage": ("At the stage", "На этапе"),
    "stages": ("Stages of the funnel", "Этапы воронки"),
    "starts": ("Starts with", "Начинается событием"),
    "steadiness_percent": ("A week brings at least, of 100 promised", "Неделя даёт не менее, из 100 обещанных"),
    "target": ("Target", "Цель"),
    "term": ("Term", "Термин"),
    "threshold": ("A lead is handed over from the points", "Лид передаётся, начиная с баллов"),
    "threshold_step": ("The threshold moves at most by", "Проходной балл меняется не более чем на"),
    "title": ("Agreement", "Соглашение"),
    "to": ("Goes to", "Направляется в"),
    "touch": ("Counts touches of the kind", "Считаются касания вида"),
    "until": ("Until", "До"),
    "when": ("When", "Если"),
    "window_hours": ("Looks back (hours)", "Учитываются последние (часов)"),
    "within": ("Within", "Срок"),
}
_WORDS: Final[Mapping[str, str]] = {
    "any": "любой", "form": "форма", "ad_click": "клик по рекламе", "visit": "визит", "email": "письмо",
    "call": "звонок", "event": "мероприятие", "chat": "чат", "marketing": "маркетинг", "sales": "отдел продаж",
    "fit": "соответствие профилю", "intent": "намерение", "timing": "время", "data": "данные", "reach": "связь",
    "capacity": "ресурсы", "identity": "личность", "lead": "лид", "deal": "сделка", "revenue": "выручка",
    "deals": "сделки", "new_customers": "новые клиенты", "average_profit": "средняя прибыль",
    "cost_of_selling": "затраты на маркетинг и продажи",
}  # fmt: skip
_CLOSED: Final = frozenset({"touch", "department", "owner", "family", "about", "measure"})
_SPANS: Final = frozenset({"within", "remind_after", "accept_within", "first_response_within"})
_UNITS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {"m": "min", "h": "h", "d": "d"},
    "ru": {"m": "мин", "h": "ч", "d": "дн."},
}


def page_of(document: bytes, *, language: Language, page: Page = "all") -> str:
    """Return the canonical bytes of an agreement as Markdown, the same text for the same bytes.

    `all` says every value of the document, its words in the language asked for; `marketing` and `sales` say what that
    department owes, with who signs, the review and the liaison.
    """
    tree: dict[str, Any] = json.loads(document)
    if page != "all":
        tree = _owed_by(tree, page)
    lines = [f"# {tree['title'][language]}", ""]
    plain = [key for key, value in tree.items() if not isinstance(value, dict | list)]
    lines += [f"- {_fact(key, tree[key], language)}" for key in plain]
    for key in LABELS:
        value = tree.get(key)
        if key == "title" or not isinstance(value, dict | list) or not value:
            continue
        lines += ["", f"## {_label(key, language)}", ""]
        items = value if isinstance(value, list) else [value]
        lines += [f"- {' '.join(_sentences(item, language))}" for item in items]
    return "\n".join(lines) + "\n"


def _owed_by(tree: Mapping[str, Any], department: str) -> dict[str, Any]:
    owed = {key: tree[key] for key in ("id", "title", "parties", "review_on", "liaison") if key in tree}
    for section in _OWNED:
        owed[section] = [item for item in tree.get(section, []) if item["owner"] == department]
    promised = "marketing" if department == "marketing" else "sla"
    if promised in tree:
        owed[promised] = tree[promised]
    return owed


def _sentences(item: Mapping[str, Any], language: Language) -> Iterator[str]:
    if language in item:
        yield " ".join(item[language].split("\n"))
    for key, value in item.items():
        if key in ("en", "ru"):
            continue
        if isinstance(value, dict):
            yield f"{_label(key, language)}: {'; '.join(s.removesuffix('.') for s in _sentences(value, language))}."
        else:
            yield _fact(key, value, language)


def _fact(key: str, value: Any, language: Language) -> str:
    label = _label(key, language)
    if value is True:
        return f"{label}."
    if key in _CLOSED:
        said = _WORDS[value] if language == "ru" else value.replace("_", " ")
    elif key in _SPANS:
        said = f"{value[:-1]} {_UNITS[language][value[-1]]}"
    elif isinstance(value, list):
        said = ", ".join(str(part) for part in value)
    else:
        # As JSON writes it on one line: a condition of several lines cannot pass for other sentences of the page.
        said = f"`{value}`" if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False)
    return f"{label}: {said}."


def _label(key: str, language: Language) -> str:
    return LABELS[key][0 if language == "en" else 1]

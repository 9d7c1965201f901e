# ruff: noqa: DTZ001 - local times are what exports hold
"""Whatever an export looks like, its records are found, its forms are recognised, and no cell becomes a formula."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lead_intake.importing import amounts, dates, escape, records
from lead_intake.importing.layout import Faults, layout_of
from lead_intake.importing.propose import propose
from lead_intake.importing.row import CODES, Reading, row_of

EXAMPLES = Path(__file__).parents[4] / "examples/import"
CELLS = st.text(alphabet=st.sampled_from("ab;,\t|\" \n'Яё1€\U0001f600\u0a0a"), max_size=8)
UTC_ZONE = ZoneInfo("UTC")


def read_all(data: bytes, *, delimiter: str, pieces: list[int], encoding: str = "utf-8") -> list[records.Record]:
    """Split a file as the worker does: from the end of the last record on, a piece at a time."""
    found: list[records.Record] = []
    at = 0
    for size in [*pieces, len(data), len(data)]:
        end = min(len(data), at + size)
        final = end == len(data)
        part = records.split(data[at:end], delimiter=delimiter, final=final, most=1_000, encoding=encoding)
        found += part
        at += part[-1].end if part else 0
        if at >= len(data):
            break
    return found


@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=8),
    delimiter=st.sampled_from(records.DELIMITERS),
    ending=st.sampled_from(["\n", "\r\n"]),
    pieces=st.lists(st.integers(1, 60), max_size=12),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_what_a_spreadsheet_wrote_is_always_read_back(
    rows: list[list[str]], delimiter: str, ending: str, pieces: list[int], encoding: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=ending).writerows(rows)
    found = read_all(text.getvalue().encode(encoding), delimiter=delimiter, pieces=pieces, encoding=encoding)
    assert all(not record.fault for record in found)
    read = [records.cells(record.raw, encoding=encoding, delimiter=delimiter) for record in found]
    assert read == rows


@given(
    data=st.binary(max_size=400),
    delimiter=st.sampled_from(["", *records.DELIMITERS]),
    encoding=st.sampled_from(records.ENCODINGS),
)
def test_any_bytes_end_in_records_that_cover_them(data: bytes, delimiter: str, encoding: str) -> None:
    found = records.split(data, delimiter=delimiter, final=True, most=10_000, encoding=encoding)
    assert [r.end for r in found] == sorted({r.end for r in found})
    assert (found[-1].end if found else 0) == len(data)


def test_a_quote_that_never_closes_is_one_wrong_record() -> None:
    good = b"1,a\n" * 3
    data = good + b'2,"open\n' + b"3,b\n" * 500
    found = records.split(data, delimiter=",", final=True, most=10_000)
    assert [r.fault for r in found].count("unclosed_quote") == 1
    assert len(found) == 504


def test_a_line_without_end_is_wrong_and_does_not_hold_up_the_file() -> None:
    piece = b"x" * (records.MOST_BYTES + 10)
    assert [r.fault for r in records.split(piece, delimiter=",", final=False, most=10)] == ["too_long"]


@given(
    words=st.lists(
        st.text(alphabet="абвгдежзиклмнопрстуфхцчшщыэюяАБВГД", min_size=3, max_size=12), min_size=3, max_size=20
    ),
    encoding=st.sampled_from(["utf-8", "windows-1251"]),
    delimiter=st.sampled_from(records.DELIMITERS),
)
def test_russian_exports_are_recognised_in_both_encodings(words: list[str], encoding: str, delimiter: str) -> None:
    rows = [delimiter.join([f"{n}", word, f"{word}@example.ru"]) for n, word in enumerate(words)]
    data = "\n".join(["ID" + delimiter + "Имя" + delimiter + "Почта", *rows]).encode(encoding)
    assert records.detect_encoding(data) == encoding
    assert records.detect_delimiter(data.split(b"\n"), encoding=encoding) == delimiter


@given(
    names=st.lists(st.text(alphabet="абвгдеAnnaÜß漢字", min_size=1, max_size=12), min_size=2, max_size=12),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be"]),
    marked=st.booleans(),
)
@settings(deadline=None)
def test_unicode_text_of_spreadsheets_is_recognised(names: list[str], encoding: str, marked: bool) -> None:
    text = "\r\n".join(["ID\tИмя\tДата создания", *(f"{n}\t{name}\t14.03.2025" for n, name in enumerate(names))])
    data = ("\ufeff" * marked + text + "\r\n").encode(encoding)
    found = propose(data, "leads.txt")
    assert (found["layout"]["encoding"], found["layout"]["delimiter"]) == (encoding, "\t")
    assert found["layout"]["columns"]["full_name"] == "Имя"


def test_half_a_character_is_one_wrong_record() -> None:
    data = "1\tAnna\n".encode("utf-16-le") + b"\x00\xd8" + "2\tB\n3\tC\n".encode("utf-16-le") + b"x"
    found = read_all(data, delimiter="\t", pieces=[17, 1, 1], encoding="utf-16-le")
    cells = [r.fault or records.cells(r.raw, encoding="utf-16-le", delimiter="\t") for r in found]
    assert cells == [["1", "Anna"], "encoding", ["3", "C"], "encoding"]


def test_other_encodings() -> None:
    assert records.detect_encoding("\ufeffimię".encode()) == "utf-8"
    assert records.detect_encoding("Name;Müller;Straße;Zoë\n".encode("cp1252")) == "windows-1252"
    assert records.detect_encoding("Анна".encode()[:-1]) == "utf-8", "a character may be cut off at the end"


@given(
    moments=st.lists(
        st.datetimes(datetime(1995, 1, 13), datetime(2040, 1, 1)),
        min_size=12,
        max_size=30,
    ),
    form=st.sampled_from([f for f in dates.PATTERNS if "%y" not in f]),
)
def test_a_form_of_date_is_always_found_again(moments: list[datetime], form: str) -> None:
    moments = [*moments, datetime(2024, 12, 31)]
    texts = [moment.strftime(form) for moment in moments]
    found, doubtful = dates.detect(texts)
    assert not doubtful
    for text in texts:
        expected = datetime.strptime(text, form).replace(tzinfo=UTC)
        assert dates.read(text, found, UTC_ZONE) == expected, found


@given(st.datetimes(datetime(1991, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC)))
def test_iso_and_unix_times_are_exact(at: datetime) -> None:
    assert dates.read(at.isoformat(), ["iso"], ZoneInfo("Asia/Tokyo")) == at
    whole = at.replace(microsecond=0)
    if 1_000_000_000 <= whole.timestamp() < 10_000_000_000:
        assert dates.read(str(int(whole.timestamp())), ["unix"], UTC_ZONE) == whole


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("14 марта 2025", "words", "2025-03-14T00:00:00"),
        ("14 марта 2025 г. в 10:20", "words", "2025-03-14T10:20:00"),
        ("Mar 4, 2025 1:05 PM", "words", "2025-03-04T13:05:00"),
        ("4. Mai 2025", "words", "2025-05-04T00:00:00"),
        ("45731,5", "excel", "2025-03-15T12:00:00"),
        ("2025-03-14 10:20", "iso", "2025-03-14T10:20:00"),
        ("14.03.25", "%d.%m.%y", "2025-03-14T00:00:00"),
        ("14.03.2025 9:05:00", "%d.%m.%Y %H:%M:%S", "2025-03-14T09:05:00"),
        ("3/14/25 9:05", "%m/%d/%y %H:%M", "2025-03-14T09:05:00"),
        ("3/14/2025, 9:05 am", "%m/%d/%Y, %I:%M %p", "2025-03-14T09:05:00"),
        ("2025-3-4", "%Y-%m-%d", "2025-03-04T00:00:00"),
        ("14-Mar-2025 10:20", "words", "2025-03-14T10:20:00"),
        ("14 мар. 2025 г., 10:20", "words", "2025-03-14T10:20:00"),
        ("Fri, 14 Mar 2025 10:20:30 +0300", "words", "2025-03-14T07:20:30"),
        ("2025-03-14T10:20:30.000+0300", "iso", "2025-03-14T07:20:30"),
        ("1741947630000", "unix_ms", "2025-03-14T10:20:30"),
    ],
)
def test_dates_of_many_forms(text: str, form: str, expected: str) -> None:
    found = dates.read(text, [form], UTC_ZONE)
    assert found is not None
    assert found.replace(tzinfo=None).isoformat() == expected
    assert dates.detect([text])[0] == [form]


@pytest.mark.parametrize(
    "text",
    ["01.01.0001 0:00:00", "01.01.0001", "0000-00-00 00:00:00", "  .  .    ", "-", "—", "00.01.1900 0:00", "1/0/1900"],
)
def test_what_programs_write_for_no_date_is_none(text: str) -> None:
    assert dates.is_blank(text)
    assert dates.detect([text, "14.03.2025"])[0] == ["%d.%m.%Y"]
    for date in ("01.01.2001", "2000-01-01", "45731", "1.1.1990 0:00"):
        assert not dates.is_blank(date)


def test_a_time_without_a_zone_is_read_in_the_mappings() -> None:
    at = dates.read("01.07.2025 12:00", ["%d.%m.%Y %H:%M"], ZoneInfo("Europe/Moscow"))
    assert at == datetime(2025, 7, 1, 9, tzinfo=UTC)


def test_day_and_month_in_doubt_are_said() -> None:
    assert dates.detect(["03/04/2025", "05/06/2025"])[1]
    assert not dates.detect(["03/14/2025", "05/06/2025"])[1]


def test_years_out_of_reach_are_no_dates() -> None:
    for text in ("1816-01-01", "9999-12-31", "0001-01-01"):
        assert dates.read(text, ["iso"], UTC_ZONE) is None


@given(minor=st.integers(0, 10**12), style=st.sampled_from(["{:,}.{:02}", "{:_},{:02}", "{:}.{:02}", "{:}"]))
def test_money_is_read_to_the_cent_in_every_style(minor: int, style: str) -> None:
    whole, cents = divmod(minor, 100)
    text = style.format(whole, cents).replace("_", "\u00a0")
    expected = minor if "{:02}" in style else whole * 100
    for written in (text, f"€{text}", f"{text} EUR"):
        assert amounts.minor_units(written, "EUR") == (expected, "EUR")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18490.00|RUB", (1_849_000, "RUB")),
        ("12\u00a0500,00 руб.", (1_250_000, "RUB")),
        ("12 500,00", (1_250_000, "EUR")),
        ("1 200 Доллар США", (120_000, "USD")),
        ("$1,007.50", (100_750, "USD")),
    ],
)
def test_money_as_systems_write_it(text: str, expected: tuple[int, str]) -> None:
    assert amounts.minor_units(text, "EUR") == expected
    assert [amounts.currency_of(name) for name in ("643", "RUR", "Рубль", "евро")] == ["RUB", "RUB", "RUB", "EUR"]


@pytest.mark.parametrize("text", ["-5", "1.234.56", "12,34,56", "abc", "1.005", "5 USD EUR", "", "1e5", "1,2345"])
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    found = amounts.minor_units(text, "EUR")
    assert found is None or (
        text == "1.005" and found == (100_500, "EUR")
    )  # a lone point before three digits parts them


@given(st.text(max_size=20))
def test_no_cell_is_ever_a_formula(text: str) -> None:
    for begin in ("", "=", "+", "-", "@", " =", "\t=", "\r"):
        assert not escape.cell(begin + text).lstrip(" \u00a0\x00").startswith(("=", "+", "-", "@", "\t", "\r"))


@given(cells=st.dictionaries(st.sampled_from(["ID", "E", "D", "P"]), st.text(max_size=30)))
def test_any_row_ends_and_a_refusal_names_a_known_reason(cells: dict[str, str]) -> None:
    layout = layout_of(
        {
            "kind": "leads",
            "crm": "x",
            "columns": {"id": "ID", "email": "E", "phone": "P", "occurred_at": {"column": "D", "formats": ["iso"]}},
        }
    )
    reading = Reading("s", layout, {}, datetime(2026, 1, 1, tzinfo=UTC), "r")
    made = row_of(2, lambda name: cells.get(name, ""), reading)
    assert made.entry.person is not None or made.entry.reason in CODES


@pytest.mark.parametrize("mapping", ["hubspot.yaml", "amocrm.yaml"])
def test_the_examples_mapping_is_what_is_proposed(mapping: str) -> None:
    told = yaml.safe_load((EXAMPLES / mapping).read_text())
    for layout in told["files"]:
        name = layout.pop("file")
        found = propose((EXAMPLES / name).read_bytes(), name)
        assert found["faults"] == []
        assert {**found["layout"], "crm": layout["crm"]} == layout


def test_a_proposal_repeats_no_person() -> None:
    for name in ("hubspot-contacts.csv", "amocrm-contacts.csv"):
        said = str(propose((EXAMPLES / name).read_bytes(), name))
        assert "example" not in said
        assert "Петрова" not in said
        assert "Müller" not in said


@given(st.binary(max_size=300))
def test_any_bytes_get_a_proposal(data: bytes) -> None:
    assert propose(data, "x.csv")["name"] == "x.csv"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "x"}, "/kind"),
        ({"crm": ""}, "/crm"),
        ({"time_zone": "Mars/Base"}, "/time_zone"),
        ({"encoding": "utf-7"}, "/encoding"),
        ({"columns": {"email": "E"}}, "/columns"),
        ({"columns": {"email": "E", "occurred_at": "D"}}, "/columns/occurred_at/formats"),
        ({"columns": {"who": "E"}}, "/columns/who"),
        ({"typo": 1}, "/typo"),
    ],
)
def test_a_layout_that_cannot_be_used_says_where(change: dict[str, Any], pointer: str) -> None:
    good: dict[str, Any] = {
        "kind": "leads",
        "crm": "x",
        "columns": {"email": "E", "occurred_at": {"column": "D", "formats": ["iso"]}},
    }
    assert layout_of(good).kind == "leads"
    with pytest.raises(Faults) as caught:
        layout_of({**good, **change})
    assert pointer in [place for place, _ in caught.value.found]


ODD: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "bitrix24 leads.csv": (
        "windows-1251",
        '"ID";"Название лида";"Статус";"Имя";"Фамилия";"Рабочий e-mail";"Рабочий телефон";'
        '"Дата создания";"Источник"\r\n'
        '"11";"Заявка";"Новый";"Анна";"Петрова";"a@example.ru";"+7 (495) 000-00-01";'
        '"14.03.2025 09:05:10";"CRM-форма"\r\n'
        '"12";"Звонок; второй";"Качественный";"Иван";"Орлов";"";"8 495 000-00-02";"15.03.2025 10:20:30";"Звонок"\r\n',
        {"kind": "leads", "crm": "bitrix24", "encoding": "windows-1251", "delimiter": ";"},
        {
            "id": "ID",
            "first_name": "Имя",
            "last_name": "Фамилия",
            "email": "Рабочий e-mail",
            "phone": "Рабочий телефон",
        },
    ),
    "сделки битрикс.csv": (
        "utf-8-sig",
        "ID;Название сделки;Стадия сделки;Сумма;Валюта;Дата начала;Дата завершения;Контакт: Рабочий e-mail\n"
        "5;Поставка;Сделка успешна;18490.00;Российский рубль;14.03.2025;20.03.2025;a@example.ru\n"
        "6;Монтаж;Сделка провалена;0.00;Российский рубль;14.03.2025;21.03.2025;b@example.ru\n",
        {"kind": "deals", "crm": "bitrix24", "encoding": "utf-8", "decimal": "."},
        {
            "id": "ID",
            "currency": "Валюта",
            "email": "Контакт: Рабочий e-mail",
            "state": {
                "column": "Стадия сделки",
                "values": {"Сделка успешна": "won", "Сделка провалена": "lost"},
                "default": "open",
            },
        },
    ),
    "1C deals.txt": (
        "utf-16",
        "Отчёт по сделкам\t\t\t\t\t\t\r\nПериод: 01.01.2025 - 31.03.2025\t\t\t\t\t\t\r\n\t\t\t\t\t\t\r\n"
        "Номер\tДата\tКонтрагент\tАдрес электронной почты\tСумма\tСостояние\tДата закрытия\r\n"
        "00-000001\t14.03.2025 9:05:00\tООО Ромашка\ta@example.ru\t12\u00a0500,00\tВыиграна\t20.03.2025 0:00:00\r\n"
        "00-000002\t15.03.2025 12:00:00\tИП Орлов\tb@example.ru\t7\u00a0000,50\tВ работе\t01.01.0001 0:00:00\r\n"
        "Итого\t\t\t\t19\u00a0500,50\t\t\r\n",
        {"kind": "deals", "crm": "onec", "encoding": "utf-16-le", "delimiter": "\t", "skip": 3, "decimal": ","},
        {
            "id": "Номер",
            "opened_at": {"column": "Дата", "formats": ["%d.%m.%Y %H:%M:%S"]},
            "closed_at": {"column": "Дата закрытия", "formats": ["%d.%m.%Y %H:%M:%S"]},
        },
    ),
    "hubspot-crm-exports-contacts.csv": (
        "utf-8",
        "sep=;\nRecord ID;First Name;Last Name;Email;Create Date;Original Source\n"
        "101;Zoë;O'Neil;z@example.com;2025-03-14 10:20;Organic Search\n102;;;y@example.com;2025-03-15 09:00;\n",
        {"kind": "leads", "crm": "hubspot", "delimiter": ";", "skip": 1},
        {"id": "Record ID", "first_name": "First Name", "occurred_at": {"column": "Create Date", "formats": ["iso"]}},
    ),
    "leads from excel.csv": (
        "utf-8-sig",
        "Name,E-mail,Created\nAnna,a@example.com,45731.4375\nBert,b@example.com,45732\n",
        {"kind": "leads", "delimiter": ","},
        {"email": "E-mail", "occurred_at": {"column": "Created", "formats": ["excel"]}},
    ),
}
"""What systems really write, values invented: name, encoding, text, what is said of the file and of its columns."""


@pytest.mark.parametrize("name", ODD)
def test_odd_exports_are_understood_without_help(name: str) -> None:
    encoding, text, layout, columns = ODD[name]
    found = propose(text.encode(encoding), name)
    assert found["faults"] == []
    assert {key: found["layout"].get(key) for key in layout} == layout
    assert {field: found["layout"]["columns"].get(field) for field in columns} == columns


@pytest.mark.parametrize("head", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xef\xbb\xbf<html><table>"])
def test_what_is_no_text_is_said_to_be_none(head: bytes) -> None:
    [fault] = propose(head, "x.xls")["faults"]
    assert fault["pointer"] == "/format"


def test_the_future_is_capped() -> None:
    layout = layout_of(
        {"kind": "leads", "crm": "x", "columns": {"id": "I", "occurred_at": {"column": "D", "formats": ["iso"]}}}
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    cells = {"I": "1", "D": (now + timedelta(days=9)).isoformat()}
    assert row_of(2, cells.__getitem__, Reading("s", layout, {}, now, "r")).entry.occurred_at == now

import pytest

from baton_evidence.table import Unreadable, read_table


def cells(content: bytes, name: str) -> list[str | None]:
    column = read_table(content).columns[name]
    return [column.levels[code] if code >= 0 else None for code in column.codes]


def test_commas_semicolons_tabs_and_pipes_are_told_apart_by_what_they_cut() -> None:
    for delimiter in ",;\t|":
        content = f"a{delimiter}b\n1{delimiter}x\n2{delimiter}y\n".encode()
        assert cells(content, "b") == ["x", "y"]


def test_a_decimal_comma_does_not_cut_where_semicolons_do() -> None:
    assert cells(b"price;size\n1,5;2\n2,5;3\n", "price") == ["1,5", "2,5"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1251"])
def test_cyrillic_is_read_in_any_encoding_that_offices_write(encoding: str) -> None:
    assert cells("источник;да\nсайт;1\n".encode(encoding), "источник") == ["сайт"]


def test_what_stands_for_nothing_is_missing() -> None:
    assert cells(b"a,b\nSelect,1\nN/A,1\n ,1\nnone,1\n0,1\n", "a") == [None, None, None, None, "0"]


def test_a_wrong_row_is_named_and_stops_nothing() -> None:
    table = read_table(b"a,b\n1,2\n1,2,3\n\n4,5\n")
    assert (table.rows, table.wrong_lines) == (2, (3,))


def test_columns_of_one_name_and_of_none_are_kept_apart() -> None:
    assert list(read_table(b"a,a,\n1,2,3\n").columns) == ["a", "a (2)", "column 3"]
    assert list(read_table(b'"Lead\n source",b\n1,2\n').columns) == ["Lead source", "b"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n"])
def test_a_file_without_rows_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_table(content)

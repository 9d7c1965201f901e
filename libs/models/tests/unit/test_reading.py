"""Reading journeys: the layouts people have, and the place of what is wrong."""

from fractions import Fraction

import pytest

from baton_models.reading import Unreadable, read_journeys


def told(content: str | bytes, **options: str) -> dict[str, tuple[Fraction, Fraction, Fraction | None]]:
    """Path -> conversions, nulls, value."""
    raw = content if isinstance(content, bytes) else content.encode()
    found = read_journeys(raw, **options).journeys  # type: ignore[arg-type]
    names = [
        ">".join(found.channels[s] for s in found.steps[a:b])
        for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)
    ]
    return {
        name: (
            found.conversions.exact(int(found.conversions.units[n])),
            found.nulls.exact(int(found.nulls.units[n])),
            None if found.value is None else found.value.exact(int(found.value.units[n])),
        )
        for n, name in enumerate(names)
    }


PLAIN = {"a>b": (2, 1, 7), "c": (0, 3, 0)}


@pytest.mark.parametrize(
    "content",
    [
        "path,conversions,value,nulls\na > b,2,7,1\nc,0,0,3\n",
        "path,conversions,value,nulls\r\na > b,2,7,1\r\n\r\nc,0,0,3",
        "path,total_conversions,total_conversion_value,total_null\na>b,2,7.0,1\nc,0,NA,3\n",
        '"","path","total_conversions","total_conversion_value","total_null"\n"1","a > b",2,7,1\n"2","c",0,0,3\n',
        "\ufeffPath;Conversions;Value;Nulls\na > b;2;7,00;1\nc;;;3\n",
        "NULLS\tVALUE\tCONV\tPATH\n1\t7\t2\t a  >  b \n3\t0\t0\tc\n",
        "path|conversions|value|nulls\na > b|1|3.5|1\nc|0|0|3\na > b|1|3.5|0\n",
        "path,conversions,value,nulls,\na > b,2,7e0,1,\nc,0,0,3,\n",
    ],
)
def test_every_usual_form_of_the_layout_is_read(content: str) -> None:
    assert told(content) == PLAIN
    assert told(content.encode("utf-16")) == PLAIN


def test_names_may_be_of_any_script_and_hold_the_delimiter_in_quotes() -> None:
    found = told('path,conv\n"поиск, Яндекс > ""mail"" > 直接",1\n')
    assert list(found) == ['поиск, Яндекс>"mail">直接']


def test_rows_of_one_path_are_one() -> None:
    found = told("path,conv,value,null\na>b,1,0.1,2\na>b,2,0.2,0\n")
    assert found == {"a>b": (3, 2, Fraction(3, 10))}


def test_numbers_are_exact_beyond_what_floats_hold() -> None:
    found = told(f"path,conv,value\na,{2**53 + 1},{10**40 + 1}.01\n")
    assert found == {"a": (2**53 + 1, 0, 10**40 + 1 + Fraction(1, 100))}


def test_without_value_and_nulls_there_is_no_value_and_nothing_lost() -> None:
    assert told("path,conversions\na,3\n") == {"a": (3, 0, None)}


def test_a_column_called_won_has_one_journey_a_row() -> None:
    assert told("path,won\na,1\na,0\na,0\n") == {"a": (1, 2, None)}


def test_headers_can_be_named() -> None:
    raw = b"way,sold,path\na>b,2,x\n"
    found = read_journeys(raw, columns={"path": "way", "conversions": "Sold"})
    assert found.journeys.channels == ("a", "b")
    assert found.columns == {"path": "way", "conversions": "sold"}


def test_another_separator_leaves_the_usual_one_in_the_names() -> None:
    assert list(told("path,conv\na>b > c,1\n", separator=" > ")) == ["a>b>c"]
    assert read_journeys(b"path,conv\na>b > c,1\n", separator=" > ").journeys.channels == ("a>b", "c")


def test_a_very_long_path_is_read() -> None:
    assert len(read_journeys(("path,conv\n" + " > ".join(["a"] * 100_000) + ",1\n").encode()).journeys.steps) == 100_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("path,value\na,1\n", "line 1: there is no column of conversions"),
        ("a > b,1,2\n", "line 1: there is no column of path"),
        ("path,conv,path\na,1,b\n", "line 1: two columns are called path"),
        ("path,conv\na,1\nb,x\n", "line 3, column 2 (conv): 'x' is no number"),
        ("path,conv,value\na,1,nan\n", "line 2, column 3 (value): 'nan' is no number"),
        ("path,conv,value\na,1,1e999999\n", "line 2, column 3 (value): '1e999999' has more than 100 digits"),
        (f"path,conv,value\na,1,{'9' * 5000}\n", "line 2, column 3 (value): '99"),
        (f"path,conv,value\nb,1,1\na,1,{'9' * 101}\n", "line 3: the numbers of this path reach 100 digits"),
        ("path,conv\na,-1\n", "line 2, column 2 (conv): a count is not negative"),
        ("path,conv,null\na,1,-1\n", "line 2, column 3 (null): a count is not negative"),
        ("path,conv,value\na,0,5\n", "line 2, column 3 (value): a value without a conversion"),
        ("path,conv\nb,1\na > > b,1\n", "line 3, column 1 (path): touch 2 has no name"),
        ("path,conv\na > b >,1\n", "line 2, column 1 (path): touch 3 has no name"),
        ("path,conv,value\na,1\n", "line 2: 2 cells where the header has 3"),
        ("path,conv\na,b,1\n", "line 2: 3 cells where the header has 2"),
        ('path,conv\n"a"b,1\n', "line 2: this is no CSV"),
        ("path,won\na,2\n", "line 2, column 2 (won): won is 0 or 1"),
        ("path,conv,age_hours\na > b,1,3\n", "line 2, column 3 (age_hours): 1 ages for 2 touches"),
        ("path,conv,age_hours\na > b,1,3 > x\n", "line 2, column 3 (age_hours): 'x' is no number"),
        ("path,conv,age_hours\na,1,-3\n", "line 2, column 3 (age_hours): an age is hours before the close"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(content: str, said: str) -> None:
    with pytest.raises(Unreadable) as error:
        read_journeys(content.encode())
    assert str(error.value).startswith(said)


def test_bytes_that_are_no_text_are_said_with_their_line() -> None:
    with pytest.raises(Unreadable, match="line 2: this is no UTF-8"):
        read_journeys("path,conv\nüber,1\n".encode("latin-1"))

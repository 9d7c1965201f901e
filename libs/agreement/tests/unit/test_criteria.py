import pytest

from baton_agreement.criteria import Conditions, CriteriaError, Scope, check_condition, define_terms
from baton_agreement.features import LEAD_FIELDS, lead_variables, touch_variables

REFUSED: list[tuple[str, Scope, str, tuple[int, int]]] = [
    ("employes > 5", "lead", "unknown name 'employes'", (1, 1)),
    ("has_email &&\n employes > 5", "lead", "unknown name 'employes'", (2, 2)),
    ("country > 5", "lead", "no matching overload", (1, 9)),
    ("employees", "lead", "gives a number", (1, 1)),
    ("employees > 1.5", "lead", "has a fraction", (1, 13)),
    ("double(employees) > 1", "lead", "'double' is not allowed", (1, 1)),
    ('timestamp("2026-01-01T00:00:00Z") == timestamp("2026-01-01T00:00:00Z")', "lead", "not allowed", (1, 1)),
    ('answers["x"] == "y"', "lead", "guard it", (1, 1)),
    ("budget / employees > 10", "lead", "guard it", (1, 1)),
    ('country.matches("(")', "lead", "is not a pattern", (1, 1)),
    ('touch.page == "/"', "lead", "'touch.page' is of the touch", (1, 6)),
    ("has_email", "touch", "'has_email' is of the lead", (1, 1)),
    ('touch.pag == "/"', "touch", "unknown field 'touch.pag'", (1, 6)),
    ('country == "x', "lead", "Syntax error", (1, 12)),
    ("true && " * 400 + "true", "lead", "longer than", (1, 1)),
    ("(" * 200 + "true" + ")" * 200, "lead", "recursion", (1, 1)),
    ("has_email\x00", "lead", "NUL", (1, 1)),
]


@pytest.mark.parametrize(("text", "scope", "says", "place"), REFUSED)
def test_a_wrong_condition_is_refused_with_its_place(
    text: str, scope: Scope, says: str, place: tuple[int, int]
) -> None:
    with pytest.raises(CriteriaError) as refused:
        check_condition(text, scope, terms={})
    assert says in refused.value.detail
    assert (refused.value.line, refused.value.column) == place


def test_a_condition_that_loops_too_long_is_refused() -> None:
    numbers = "[" + ",".join(str(i) for i in range(150)) + "]"
    with pytest.raises(CriteriaError, match="takes too long"):
        check_condition(f"{numbers}.all(x, {numbers}.all(y, x * y >= 0))", "lead", terms={})


def test_terms_are_written_out_and_mean_what_they_say() -> None:
    terms, errors = define_terms(
        {
            "good": "large && ours // both",
            "large": "employees >= 250",
            "ours": 'country == "DE" || country == "AT"',
        }
    )
    assert errors == []
    conditions = Conditions(
        [check_condition("!good", "lead", terms=terms), check_condition("good", "lead", terms=terms)]
    )
    assert conditions.answers(lead_variables({"country": "AT", "employees": 300})) == [False, True]
    assert conditions.answers(lead_variables({"country": "AT", "employees": 100})) == [True, False]


def test_a_term_inside_a_text_is_no_term() -> None:
    terms, _ = define_terms({"good": "has_email"})
    condition = check_condition(
        'country == "good" || country == \'good\' || country == r"""good"""', "lead", terms=terms
    )
    assert "has_email" not in condition.expanded


@pytest.mark.parametrize(
    "definitions",
    [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "b", "b": "c", "c": "!a"}],
    ids=["two", "itself", "three"],
)
def test_a_circle_of_terms_is_refused(definitions: dict[str, str]) -> None:
    terms, errors = define_terms(definitions)
    assert terms == {}
    assert any("defined by itself" in error.detail for _, error in errors)
    assert {name for name, _ in errors} == set(definitions)


def test_terms_that_double_each_other_are_refused_before_they_fill_the_memory() -> None:
    definitions = {"t0": "has_email"} | {f"t{i}": f"t{i - 1} && t{i - 1}" for i in range(1, 31)}
    _, errors = define_terms(definitions)
    assert errors


@pytest.mark.parametrize("name", ["country", "touch", "size", "true"])
def test_a_term_cannot_hide_a_feature_or_a_word_of_the_language(name: str) -> None:
    _, errors = define_terms({name: "true"})
    assert errors[0][0] == name


def test_a_condition_that_fails_while_running_is_not_met_and_spoils_no_other() -> None:
    overflow = check_condition("employees * 9223372036854775807 > 0 || has_name", "lead", terms={})
    conditions = Conditions([check_condition("has_email", "lead", terms={}), overflow])
    assert conditions.answers(lead_variables({"has_email": True, "employees": 5})) == [True, False]
    assert conditions.answers(lead_variables({"has_email": True, "employees": 5, "has_name": True})) == [
        True,
        True,
    ]


def test_every_feature_is_a_variable_with_its_type() -> None:
    literal = {"bool": "true", "int": "7", "string": '"x"', "map": '{"a": "b"}'}
    for name, kind in LEAD_FIELDS.items():
        check_condition(f"{name} == {literal[kind]}", "lead", terms={})


def test_touch_conditions_see_the_touch() -> None:
    conditions = Conditions([check_condition('touch.kind == "form" && touch.page == "/"', "touch", terms={})])
    assert conditions.answers(touch_variables({"kind": "form", "page": "/"})) == [True]

"""The language of the criteria: CEL over the features of a lead and of a touch, checked when it is saved.

An expression sees no clock, no database and no floating point, so that the same snapshot gives the same answer on
any machine. An expression that fails while running (a missing answer, an overflow) counts as not met.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from cel_expr_python import cel

from baton_agreement.features import LEAD_FIELDS, TOUCH_FIELDS, lead_variables, touch_variables

Scope = Literal["lead", "touch"]

MAX_EXPRESSION: Final = 2_000
MAX_EXPANDED: Final = 50_000

_TYPES: Final[Mapping[str, Any]] = {
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "string": cel.Type.STRING,
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}
_VARIABLES: Final[Mapping[Scope, Mapping[str, Any]]] = {
    "lead": {name: _TYPES[kind] for name, kind in LEAD_FIELDS.items()},
    "touch": {f"touch.{name}": cel.Type.STRING for name in TOUCH_FIELDS},
}
_NOTHING_KNOWN: Final[Mapping[Scope, Mapping[str, Any]]] = {
    "lead": lead_variables({}),
    "touch": touch_variables({}),
}
_ROOTS: Final = frozenset(LEAD_FIELDS) | {"touch"}
# Everything through which a fraction, a clock or an unchecked type could come in.
_REFUSED: Final = frozenset({"double", "dyn", "timestamp", "duration", "google"})
RESERVED: Final = (
    _ROOTS
    | _REFUSED
    | frozenset(
        [
            "as",
            "break",
            "const",
            "continue",
            "else",
            "false",
            "for",
            "function",
            "if",
            "import",
            "in",
            "let",
            "loop",
            "package",
            "namespace",
            "null",
            "return",
            "true",
            "var",
            "void",
            "while",
            "all",
            "bool",
            "bytes",
            "contains",
            "endsWith",
            "exists",
            "exists_one",
            "filter",
            "has",
            "int",
            "list",
            "map",
            "matches",
            "size",
            "startsWith",
            "string",
            "type",
            "uint",
            "optional",
            "cel",
            "math",
            "strings",
        ]
    )
)
"""Words that cannot name a term of the glossary."""

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<float>(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
  | (?P<number>0x[0-9a-fA-F]+[uU]?|\d+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ENGINE_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)


class CriteriaError(ValueError):
    """The expression cannot be used; `line` and `column` count from 1 inside the expression."""

    def __init__(self, detail: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the glossary: its definition with all other terms written out, and where it may be used."""

    name: str
    expanded: str
    type_name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition, terms written out."""

    scope: Scope
    expanded: str


def define_terms(definitions: Mapping[str, str]) -> tuple[dict[str, Term], list[tuple[str, CriteriaError]]]:
    """Check the glossary: every term resolves, has a type and stands in no circle.

    Returns the terms that are sound and, by name, what is wrong with the others.
    """
    terms: dict[str, Term] = {}
    errors: dict[str, CriteriaError] = {}

    def define(name: str, path: tuple[str, ...]) -> None:
        if name in terms or name in errors:
            return
        try:
            terms[name] = _defined(name, path)
        except CriteriaError as error:
            errors.setdefault(name, error)

    def _defined(name: str, path: tuple[str, ...]) -> Term:
        # 1. The name, and the terms it is built upon.
        if name in path:
            circle = " → ".join((*path[path.index(name) :], name))
            raise CriteriaError(f"the term is defined by itself: {circle}; take one of them out")
        if name in RESERVED:
            raise CriteriaError(f"'{name}' is a word of the language or a feature; choose another name")
        if len(path) > 32:
            raise CriteriaError("more than 32 terms are built upon each other; write some of them out")
        for used in sorted(_names(definitions[name]) & definitions.keys()):
            define(used, (*path, name))
            if used in errors:
                raise errors.get(name) or CriteriaError(f"uses the term '{used}', which is not sound")

        # 2. Where it may stand: about the lead, about a touch, or (a constant) in both.
        found: dict[Scope, tuple[str, str]] = {}
        failures: list[CriteriaError] = []
        for scope in _scope_order(definitions[name], terms):
            try:
                found[scope] = _check(definitions[name], scope, terms)
            except CriteriaError as error:
                failures.append(error)
        if not found:
            raise failures[0]
        expanded, type_name = next(iter(found.values()))
        return Term(name=name, expanded=expanded, type_name=type_name, scopes=frozenset(found))

    for name in definitions:
        define(name, ())
    return terms, list(errors.items())


def check_condition(text: str, scope: Scope, *, terms: Mapping[str, Term]) -> Condition:
    """Return the condition, ready to be compiled; raises CriteriaError with the place of what is wrong.

    Refused: an unknown feature, a wrong type, a result that is not true or false, floating point, a condition that
    fails for a lead of whom nothing is known, and what takes too long.
    """
    expanded, type_name = _check(text, scope, terms)
    if type_name != "BOOL":
        raise CriteriaError(
            f"gives {_plain(type_name)}, but a condition must be true or false; compare it with something"
        )
    return Condition(scope=scope, expanded=expanded)


class Conditions:
    """Compiled conditions of one scope, answered together: one call of the engine for all of them."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        if len({condition.scope for condition in conditions}) > 1:
            raise ValueError("conditions of one scope only")
        self._size = len(conditions)
        # Wherever the name stands, in a string too: one too many is harmless, one too few would be a wrong answer.
        self.named = frozenset(name for name in LEAD_FIELDS if any(name in c.expanded for c in conditions))
        """The features that can change an answer."""
        if not conditions:
            return
        self._env = _environment(conditions[0].scope)
        self._expanded = [condition.expanded for condition in conditions]
        # A list literal answers 20 rules in the time of two separate calls.
        self._all = self._env.compile("[" + ",\n".join(f"({text})" for text in self._expanded) + "]")

    @functools.cached_property
    def _each(self) -> list[Any]:
        """The same ones apart, compiled when the list has failed for the first time."""
        return [self._env.compile(text) for text in self._expanded]

    def answers(self, variables: Mapping[str, Any]) -> list[bool]:
        """Return for each condition whether it holds."""
        if self._size == 0:
            return []
        try:
            value = self._all.eval(data=variables)
        except RuntimeError:  # the iteration budget: shared by the list, so ask one by one
            value = None
        if value is not None and value.type() != cel.Type.ERROR:
            return value.plain_value()  # type: ignore[no-any-return]
        return [_holds(expression, variables) for expression in self._each]


def _holds(expression: Any, variables: Mapping[str, Any]) -> bool:
    try:
        value = expression.eval(data=variables)
    except RuntimeError:
        return False
    # A run-time error comes back as a value, not as an exception.
    return value.type() == cel.Type.BOOL and value.value() is True


def _environment(scope: Scope, extra: Mapping[str, Any] | None = None) -> Any:
    return cel.NewEnv(variables={**_VARIABLES[scope], **(extra or {})})


def _check(text: str, scope: Scope, terms: Mapping[str, Term]) -> tuple[str, str]:
    """Return the text with terms written out, and the name of its type."""
    # 1. What the engine would take, but a decision must not.
    if len(text) > MAX_EXPRESSION:
        raise CriteriaError(f"is longer than {MAX_EXPRESSION} characters; name parts of it in the glossary")
    if "\x00" in text:
        raise CriteriaError("contains a NUL character")
    _refuse_inexact(text)

    # 2. As written, with the terms as typed variables: positions are those of the author's own text.
    usable = {name: term for name, term in terms.items() if scope in term.scopes}
    written = _compile(text, scope, tuple((name, term.type_name) for name, term in usable.items()))
    type_name = written.return_type().name()

    # 3. With the terms written out, as it will run.
    expanded = _expand(text, usable)
    if len(expanded) > MAX_EXPANDED:
        raise CriteriaError("is too long once the terms are written out; simplify the glossary")
    if expanded == text:
        final = written
    else:
        try:
            final = _compile(expanded, scope, ())
        except CriteriaError as error:
            raise CriteriaError(f"cannot be used with its terms written out: {error.detail}") from None

    # 4. Once on a lead of whom nothing is known, which is where unguarded conditions fail.
    try:
        value = final.eval(data=_NOTHING_KNOWN[scope])
    except RuntimeError as error:
        raise CriteriaError(f"takes too long: {_first_line(error)}; loop over fewer items") from None
    if value.type() == cel.Type.ERROR:
        reason = _first_line(value.value())
        if "regular expression" in reason:
            raise CriteriaError(f"is not a pattern: {reason}")
        raise CriteriaError(
            f"fails where nothing is known of the {scope}: {reason}; guard it, for example "
            '"x" in answers && answers["x"] == "y"'
        )
    return expanded, type_name


@functools.lru_cache(maxsize=2_048)  # whoever edits an agreement changes one condition of many
def _compile(text: str, scope: Scope, terms: tuple[tuple[str, str], ...]) -> Any:
    try:
        return _environment(scope, {name: _type_named(type_name) for name, type_name in terms}).compile(text)
    except RuntimeError as error:
        _raise_readable(str(error), scope)


def _raise_readable(message: str, scope: Scope) -> NoReturn:
    found = _ENGINE_ERROR.search(message)
    if found is None:
        raise CriteriaError(_first_line(message))
    line, column, detail = int(found[1]), int(found[2]), found[3].strip()
    unknown = re.match(r"undeclared reference to '([^']*)'", detail)
    if unknown is not None:
        name = unknown[1]
        other = "touch" if scope == "lead" else "lead"
        if name in LEAD_FIELDS or name == "touch" or name.startswith("touch."):
            detail = f"'{name}' is of the {other} and not known in a rule about the {scope}"
            if scope == _scope_of(name):
                detail = f"unknown field '{name}'; a touch has {', '.join(TOUCH_FIELDS)}"
        else:
            detail = (
                f"unknown name '{name}': not a feature, a function or a term that may stand in a rule about the {scope}"
            )
    raise CriteriaError(detail, line=line, column=column)


def _scope_of(name: str) -> Scope:
    return "touch" if name == "touch" or name.startswith("touch.") else "lead"


def _scope_order(text: str, terms: Mapping[str, Term]) -> tuple[Scope, ...]:
    """Try first the scope that the text seems to mean: its error is the one to show."""
    names = _names(text)
    about_touch = "touch" in names or any(terms[n].scopes == {"touch"} for n in names if n in terms)
    return ("touch", "lead") if about_touch else ("lead", "touch")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    return [(str(match.lastgroup), match.group(), match.start()) for match in _TOKEN.finditer(text)]


def _words(text: str) -> list[tuple[str, int]]:
    """Names that stand for themselves: not a member after a dot, not a function before a parenthesis."""
    tokens = [token for token in _tokens(text) if token[0] != "space"]
    words = []
    for index, (kind, value, start) in enumerate(tokens):
        if kind != "name":
            continue
        before = tokens[index - 1][1] if index else ""
        after = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if before != "." and after != "(":
            words.append((value, start))
    return words


def _names(text: str) -> set[str]:
    return {name for name, _ in _words(text)}


def _expand(text: str, terms: Mapping[str, Term]) -> str:
    pieces, position = [], 0
    for name, start in _words(text):
        if name in terms:
            pieces += [
                text[position:start],
                "(",
                terms[name].expanded,
                "\n)",
            ]  # a comment must not eat the bracket
            position = start + len(name)
    pieces.append(text[position:])
    return "".join(pieces)


def _refuse_inexact(text: str) -> None:
    for kind, value, start in _tokens(text):
        line = text.count("\n", 0, start) + 1
        column = start - (text.rfind("\n", 0, start) + 1) + 1
        if kind == "float":
            raise CriteriaError(
                f"{value} has a fraction, but decisions are made in whole numbers; use a smaller unit",
                line=line,
                column=column,
            )
        if kind == "name" and value in _REFUSED:
            raise CriteriaError(f"'{value}' is not allowed in criteria", line=line, column=column)


def _type_named(name: str) -> Any:
    return {"BOOL": cel.Type.BOOL, "INT": cel.Type.INT, "STRING": cel.Type.STRING}.get(name, cel.Type.DYN)


def _plain(type_name: str) -> str:
    return {"INT": "a number", "UINT": "a number", "STRING": "a text"}.get(type_name, f"a value of type {type_name}")


def _first_line(error: object) -> str:
    return str(error).splitlines()[0]

"""`baton agreement suggest` and `backtest`: what outcomes in an export say about an agreement, without any service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton_cli import output
from baton_cli.output import Failed, Json, Yes, clean

if TYPE_CHECKING:  # numpy and scikit-learn are loaded when they are needed: every other command starts without them
    from baton_agreement.agreement import Agreement
    from baton_evidence.backtest import Backtest
    from baton_evidence.figures import Interval
    from baton_evidence.suggest import Measured, Suggestion
    from baton_evidence.table import Table

Outcome = Annotated[str, typer.Option(help="The column that says how each lead ended.")]
Won = Annotated[
    list[str] | None, typer.Option(help="A value of that column that means won, where it does not speak for itself.")
]
Id = Annotated[str | None, typer.Option("--id", help="The column that names the lead.")]
File = Annotated[Path, typer.Argument(help="CSV export with a header.", exists=True, dir_okay=False)]


def suggest(
    file: File,
    *,
    outcome: Outcome,
    won: Won = None,
    id_column: Id = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out. Repeatable.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to use although it looks late. Repeatable.")] = None,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it; else NAME.agreement.yaml beside you.")
    ] = None,
    as_json: Json = False,
    yes: Yes = False,
) -> None:
    """Suggest a first agreement from past leads with outcomes: at most 20 rules with whole points.

    Columns that look filled in after the outcome are left out and named. What the rules tell is measured on leads that
    they were not learned from, beside a gradient-boosted model of the same columns. Nothing is sent anywhere.

    Example: `baton agreement suggest leads.csv --outcome converted`
    """
    _ask_for_scikit_learn()
    from baton_evidence.suggest import suggest as suggest_from
    from baton_evidence.table import Unreadable
    from baton_evidence.written import MARK, yaml_of

    # 1. Learn.
    table = _table(file)
    try:
        with output.stages() as begin:
            found = suggest_from(
                table, outcome, won=won or (), id_column=id_column, drop=drop or (), keep=keep or (), begin=begin
            )
    except Unreadable as error:
        raise Failed(f"{file.name}: {error}") from error

    # 2. Write, over an earlier suggestion but over nothing that somebody else wrote.
    written = None
    text = ""
    if found.learned is not None:
        text = yaml_of(found, file=file.name)
        written = target or Path(f"{file.stem}.agreement.yaml")
        if written.exists() and not written.read_text(errors="replace").startswith(MARK):
            output.confirm(f"{written} is there already. Write over it?", yes=yes)
        try:
            written.write_text(text)
        except OSError as error:
            raise Failed(f"{written} cannot be written: {error.strerror}") from error

    # 3. Tell.
    if as_json:
        output.json_value(_suggestion_json(found, text=text, written=written))
    else:
        _tell_suggestion(found, written=written, outcome=outcome, file=file)


def backtest(
    document: Annotated[Path, typer.Argument(help="The agreement, YAML or JSON.", exists=True, dir_okay=False)],
    file: File,
    *,
    outcome: Outcome,
    won: Won = None,
    id_column: Id = None,
    against: Annotated[
        Path | None, typer.Option(help="Another agreement to compare it with.", exists=True, dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge the leads of an export by an agreement and hold that against their outcomes. Nothing is sent anywhere.

    The code that judges live leads judges these. A rule finds a column under its name in `answers`.

    Example: `baton agreement backtest agreement.yaml leads.csv --outcome converted --against active.yaml`
    """
    from baton_evidence.backtest import backtest as hold
    from baton_evidence.backtest import judged
    from baton_evidence.outcome import column_named, read_outcome
    from baton_evidence.table import Unreadable

    agreement = _agreement(document)
    other = None if against is None else _agreement(against)
    table = _table(file)
    try:
        outcomes = read_outcome(table, outcome, won=won or ())
        closed = table.taken(outcomes.rows)
        ids = [str(row + 2) for row in outcomes.rows]  # lines of a file whose rows are one line each
        if id_column is not None:
            column = column_named(closed, id_column)
            ids = [column.levels[code] if code >= 0 else "" for code in column.codes]
        with output.stages() as begin:
            leads = judged(agreement, closed, begin=begin)
            others = None if other is None else judged(other, closed, begin=begin)
            begin("drawing the leads again a thousand times")
            warnings = list(outcomes.says)
            if agreement.engagement:
                warnings.append("an export holds no touches: rules of engagement gave no points")
            found = hold(leads, outcomes.won[outcomes.rows], ids=ids, against=others, warnings=tuple(warnings))
    except Unreadable as error:
        raise Failed(f"{file.name}: {error}") from error
    if as_json:
        output.json_value(_backtest_json(found, agreement=agreement, columns=leads.columns))
    else:
        _tell_backtest(found, by_id=id_column is not None)


def _ask_for_scikit_learn() -> None:
    import importlib.util

    if importlib.util.find_spec("sklearn") is None:
        raise Failed("this needs scikit-learn", "Install it with the command: pip install 'baton-cli[learning]'")


def _table(file: Path) -> "Table":
    from baton_evidence.table import Unreadable, read_table

    try:
        with output.progress(f"reading {clean(file.name)}"):
            return read_table(file.read_bytes())
    except Unreadable as error:
        raise Failed(f"{file.name}: {error}") from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error


def _agreement(file: Path) -> "Agreement":
    from baton_agreement.agreement import read_agreement
    from baton_agreement.document import DocumentRefused

    try:
        return read_agreement(file.read_bytes(), "json" if file.suffix.lower() == ".json" else "yaml")
    except DocumentRefused as error:
        places = [
            f"{flaw.pointer or '/'}{f', line {flaw.line}' if flaw.line else ''}: {flaw.detail}"
            for flaw in error.flaws[:10]
        ]
        raise Failed(f"{file.name} is no agreement that could be signed", *places) from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error


def _measured_json(measured: "Measured") -> dict[str, Any]:
    return {
        "auc": measured.auc,
        "auc_interval": [measured.low, measured.high],
        "average_precision": measured.average_precision,
    }


def _suggestion_json(found: "Suggestion", *, text: str, written: Path | None) -> dict[str, Any]:
    from baton_evidence.written import rules_of

    rules, threshold = rules_of(found) if found.learned is not None else ((), None)
    return {
        "evidence": found.learned is not None,
        "p_value": found.chance,
        "leads": {
            "rows": found.rows,
            "won": found.won,
            "lost": found.lost,
            "open": found.rows - found.won - found.lost,
            "won_values": list(found.outcome.won_values),
        },
        "folds": 5,
        **_measured_json(found.rules),
        "ceiling": _measured_json(found.ceiling),
        "ratio": found.ratio,
        "frequency": _measured_json(found.frequency),
        "rules": [
            {
                "id": rule.id,
                "points": rule.points,
                "when": rule.said.when,
                "en": rule.said.en,
                "ru": rule.said.ru,
                "leads": rule.leads,
                "won": rule.won,
            }
            for rule in rules
        ],
        "threshold": threshold,
        "points_to_double_odds": None if found.learned is None else found.learned.doubling,
        "at_threshold": None
        if found.cut is None
        else {"share": found.cut.share, "precision": found.cut.precision, "recall": found.cut.recall},
        "left_out": [{"column": one.column, "reason": one.reason, "detail": one.detail} for one in found.left_out],
        "warnings": list(found.warnings),
        "file": None if written is None else str(written),
        "agreement": text or None,
    }


def _tell_suggestion(found: "Suggestion", *, written: Path | None, outcome: str, file: Path) -> None:
    from baton_evidence.written import rules_of

    closed = found.won + found.lost
    output.line(f"{closed:,} leads with an outcome, {found.won:,} won ({found.won / closed:.1%})", style="bold")
    rows = [
        [name, f"{m.auc:.3f}", f"{m.low:.3f} to {m.high:.3f}", f"{m.average_precision:.3f}"]
        for name, m in (
            ("these rules", found.rules),
            ("gradient boosting (ceiling)", found.ceiling),
            ("frequencies, as Odoo counts", found.frequency),
        )
    ]
    output.line("")
    output.table(["on leads not learned from", "AUC>", "95 %>", "average precision>"], rows, empty="")
    output.line("")
    if found.left_out:
        output.table(
            ["left out", "why"], [[one.column, one.detail] for one in found.left_out], empty="", title="Columns"
        )
        output.line("")
    for warning in found.warnings:
        output.note(f"note: {warning}")
    if found.learned is None or found.cut is None:
        output.line("No evidence: nothing in these columns tells won from lost better than chance does.", style="bold")
        output.line(f"An AUC as high comes by chance in {found.chance:.0%} of such files. No agreement was written.")
        return
    output.line(f"The rules reach {found.ratio:.1%} of the ceiling's AUC.")
    output.line("")
    rules, threshold = rules_of(found)
    written_out = [
        [rule.points, rule.said.en, f"{rule.leads:,}", f"{rule.won / rule.leads:.0%}" if rule.leads else ""]
        for rule in rules
    ]
    output.table(["points>", "rule", "leads>", "won>"], written_out, empty="", title="Rules")
    output.line("")
    cut = found.cut
    output.line(
        f"From {threshold} points on a lead is handed over: {cut.share:.1%} of the leads."
        f" {cut.precision:.1%} of them were won; {cut.recall:.1%} of all winners are among them."
        f" {found.learned.doubling:.1f} points double the odds."
    )
    output.note(f"written to {written}; try it: baton agreement backtest {written} {file} --outcome {outcome!r}")


def _backtest_json(found: "Backtest", *, agreement: "Agreement", columns: tuple[str, ...]) -> dict[str, Any]:
    return {
        "agreement": {"id": agreement.id, "digest": agreement.digest, "threshold": agreement.threshold},
        "columns": list(columns),
        "leads": {"rows": found.rows, "won": found.won, "lost": found.lost, "stopped": found.stopped},
        "auc": found.auc.value,
        "auc_interval": [found.auc.low, found.auc.high],
        "average_precision": found.average_precision.value,
        "average_precision_interval": [found.average_precision.low, found.average_precision.high],
        "at_threshold": {
            name: {"value": one.value, "interval": [one.low, one.high]}
            for name, one in (("share", found.volume), ("precision", found.precision), ("recall", found.recall))
        },
        "deciles": [
            {"won_share": d.won_share.value, "interval": [d.won_share.low, d.won_share.high], "lift": d.lift}
            for d in found.deciles
        ],
        "missed_winners": {"count": found.missed_count, "first": list(found.missed)},
        "against": None
        if found.compared is None
        else {
            "evidence_of_a_difference": found.compared.evidence,
            "auc": _difference(found.compared.auc),
            "average_precision": _difference(found.compared.average_precision),
            "precision_at_equal_volume": _difference(found.compared.precision_at_equal_volume),
        },
        "warnings": list(found.warnings),
    }


def _difference(one: "Interval") -> dict[str, Any]:
    return {"value": one.value, "interval": [one.low, one.high]}


def _tell_backtest(found: "Backtest", *, by_id: bool) -> None:
    output.line(f"{found.rows:,} leads with an outcome, {found.won:,} won ({found.won / found.rows:.1%})", style="bold")
    output.line("")
    figures = [
        ("AUC", found.auc, ".3f"),
        ("average precision", found.average_precision, ".3f"),
        ("handed over", found.volume, ".1%"),
        ("of them won (precision)", found.precision, ".1%"),
        ("winners among them (recall)", found.recall, ".1%"),
    ]
    rows = [[name, format(x.value, f), f"{x.low:{f}} to {x.high:{f}}"] for name, x, f in figures]
    output.table(["", "value>", "95 %>"], rows, empty="")
    output.line("")
    widest = max((d.won_share.value for d in found.deciles), default=0) or 1
    bars = []
    for n, d in enumerate(found.deciles, start=1):
        bar = "█" * round(24 * d.won_share.value / widest) or "▏"
        between = f"{d.won_share.low:.1%} to {d.won_share.high:.1%}"
        bars.append([n, f"{d.won_share.value:.1%}", between, f"{d.lift:.2f}", bar])
    output.table(["tenth>", "won>", "95 %>", "lift>", ""], bars, empty="", title="By score, the highest first")
    output.line("")
    if found.missed_count:
        named = ", ".join(map(clean, found.missed))
        what = "" if by_id else "lines "
        output.line(f"{found.missed_count:,} winners below the threshold; the nearest: {what}{named}")
    if found.compared is not None:
        one = found.compared.auc
        verdict = "" if found.compared.evidence else "no evidence of a difference: "
        output.line(f"{verdict}AUC {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f}) against the other agreement")
        one = found.compared.precision_at_equal_volume
        output.line(f"precision at equal volume {one.value:+.1%} ({one.low:+.1%} to {one.high:+.1%})")
    for warning in found.warnings:
        output.note(f"note: {warning}")

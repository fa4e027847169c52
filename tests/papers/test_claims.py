"""Claims: verdicts from seeds, the page, and that our campaign names rows that exist."""

from __future__ import annotations

import pytest

from srnn import papers
from srnn._check import RunError
from srnn.papers import campaign, measured, record
from srnn.papers.claims import Claim, Compare, Verdict, judge, tally
from srnn.papers.jobs import State
from srnn.papers.results import Measured, Result
from srnn.papers.table import Row, Table


def result(name: str, *accuracies: float, **others: list[float]) -> Result:
    ours = {"accuracy": Measured.of(accuracies)} if accuracies else {}
    ours |= {key: Measured.of(values) for key, values in others.items()}
    states = tuple(State("finished") for _ in accuracies)
    return Result(
        Row(name, f"the {name}", "ecg", sees="events"),
        states,
        len(states),
        ours=ours,
        protocol="n = 3 seeds",
    )


@pytest.mark.parametrize(
    ("above", "below", "kind", "said"),
    [
        (
            (80.0, 82.0, 84.0),
            (70.0, 71.0, 72.0),
            "holds",
            "+11.0 points (82.0 ± 2.0 % against 71.0 ± 1.0 %)",
        ),
        (
            (70.0, 71.0, 72.0),
            (80.0, 82.0, 84.0),
            "reversed",
            "-11.0 points (71.0 ± 1.0 % against 82.0 ± 2.0 %)",
        ),
        # 2 · √(4/3 + 1/3) = 2.58
        (
            (80.0, 82.0, 84.0),
            (78.5, 79.5, 80.5),
            "within the spread",
            "+2.5 points (82.0 ± 2.0 % against 79.5 ± 1.0 %)",
        ),
        (
            (80.0, 82.0, 84.0),
            (78.3, 79.3, 80.3),
            "holds",
            "+2.7 points (82.0 ± 2.0 % against 79.3 ± 1.0 %)",
        ),
        ((80.0,), (70.0, 71.0), "one run", "+9.5 points (80.0 % against 70.5 ± 0.7 %)"),
        ((), (70.0,), "not measured", ""),
    ],
)
def test_verdicts(above, below, kind, said):
    rows = {("t", "a"): result("a", *above), ("t", "b"): result("b", *below)}
    assert judge(Compare("t", "a", "b"), rows) == Verdict(kind, "the a", "the b", said)


@pytest.mark.parametrize(
    ("at_most", "kind"), [(11.5, "holds"), (9.0, "within the spread"), (8.0, "reversed")]
)
def test_no_more_than_so_many_points_above(at_most, kind):
    # 11 points, error 1.29
    rows = {("t", "a"): result("a", 80.0, 82.0, 84.0), ("t", "b"): result("b", 70.0, 71.0, 72.0)}
    verdict = judge(Compare("t", "a", "b", at_most=at_most), rows)
    assert (verdict.kind, verdict.said[-len(f"at most {at_most:g}") :]) == (
        kind,
        f"at most {at_most:g}",
    )


def test_a_row_that_is_not_there_is_not_measured():
    assert judge(Compare("t", "a", "b"), {("t", "a"): result("a", 1.0)}) == Verdict(
        "not measured", "the a", "b"
    )


@pytest.mark.parametrize(("times", "kind"), [(10, "holds"), (11, "less than that")])
def test_so_many_times_as_much(times, kind):
    rows = {
        ("t", "a"): result("a", 1.0, energy=[1000.0, 1000.0]),
        ("t", "b"): result("b", 1.0, energy=[90.0, 110.0]),
    }
    verdict = judge(Compare("t", "a", "b", "energy", times=times), rows)
    assert verdict.kind == kind
    assert verdict.said == "energy: 10 times (1e+03 ± 0 against 100 ± 14)"


def test_several_verdicts_in_words():
    assert tally([Verdict(k, "", "") for k in ("holds", "holds", "not measured")]) == "holds"
    assert (
        tally([Verdict(k, "", "") for k in ("reversed", "holds", "holds")])
        == "2 × holds, 1 × reversed"
    )
    assert tally([Verdict("not measured", "", "")]) == "not measured"


def test_every_claim_and_part_names_rows_that_exist():
    compared = [c for claim in measured.CLAIMS for c in claim.comparisons]
    for c in compared:
        names = {row.name for row in papers.load(c.table).rows}
        assert {c.above, c.below} <= names, c
    assert len(compared) == 68
    run = {(part.table, row.name) for part in measured.PARTS for row in part.rows_of.rows}
    # nothing is claimed of what is not run
    assert {(c.table, name) for c in compared for name in (c.above, c.below)} <= run
    assert len(run) > 80


def test_the_jobs_of_a_campaign_are_a_seed_of_every_row_after_the_other(tmp_path):
    part = campaign.Part("yin2021-fig3d", ("ecg",), ("epochs=2",), seeds=(0, 5))
    ((table, jobs),) = campaign.jobs([part], tmp_path)
    assert table.name == "yin2021-fig3d"
    assert [job.seed for job in jobs] == [0] * 4 + [5] * 4
    assert {job.task.epochs for job in jobs} == {2}
    assert part.command == "srnn reproduce yin2021-fig3d --on ecg --seeds 0 5 --set epochs=2"


def test_the_page():
    part = campaign.Part("yin2021-fig3d", ("ecg",), why="Short.")
    table = Table("t", "title", "source", (Row("a", "the a", "ecg"), Row("b", "the b", "ecg")))
    claims = (Claim("a beats b.", "Fig. 1", (Compare("t", "a", "b"),)),)
    rows = [
        result("a", 80.0, 82.0, 84.0, rate=[0.1], energy=[1234.5], energy_measured=[2000.0]),
        result("b", 70.0, 71.0, 72.0),
    ]
    page = campaign.page(claims, [(part, table, rows)])
    assert "| 1. a beats b. | Fig. 1 | **holds** |" in page
    assert "- the a against the b: *holds*, +11.0 points" in page
    assert "| the a | events |  | 82.0 ± 2.0 % | 0.1 | 1,234 | 2,000 | 3 runs |" in page
    assert page.endswith("|\n")


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    from srnn.cli.main import main

    part = campaign.Part("yin2021-fig3d", ("ecg",), ("epochs=1",), ("ecg-gaussian",), seeds=(0,))
    monkeypatch.setattr(measured, "PARTS", (part,))
    assert (
        main(
            [
                "reproduce",
                "claims",
                "--read",
                "--runs",
                str(tmp_path),
                "--data-dir",
                str(tmp_path),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    text = (tmp_path / "out" / "claims.md").read_text()
    assert text.count("| **not measured** |") == len(measured.CLAIMS) == 19
    assert "cannot run here: No qtdb" in text
    assert "Written: " in capsys.readouterr().out
    assert main(["reproduce", "claims", "--rows", "x"]) == 2
    assert "--rows is for a single table" in capsys.readouterr().err


def test_what_was_measured_outlives_its_run_folders(tmp_path):
    part, other = (
        campaign.Part("yin2021-fig3d", ("ecg",), (f"epochs={n}",), seeds=(0, 1, 2)) for n in (2, 3)
    )
    table = Table("t", "title", "source", (Row("a", "the a", "ecg"), Row("b", "the b", "ecg")))
    measured_before = [
        (part, table, [result("a", 80.0, 82.0, 84.5, rate=[0.1, 0.2, 0.3]), result("b")])
    ]
    path = tmp_path / "claims.json"
    path.write_text(record.text(measured_before))
    known = record.read(path)
    assert record.rows(known) == {(part.command, "a")}
    ((_, _, (a, b)),) = record.recalled([(part, table, [result("a"), result("b")])], known)
    assert a.status == "3 runs"
    assert (a.ours["accuracy"].mean, a.ours["accuracy"].n) == (pytest.approx(82.1667, abs=1e-4), 3)
    assert a.ours["accuracy"].sd == pytest.approx(2.25462, abs=1e-4)
    assert a.ours["rate"].mean == pytest.approx(0.2)
    assert not b.ours
    ((_, _, (a, _)),) = record.recalled(
        [(part, table, [result("a", 90.0, 91.0, 92.0), result("b")])], known
    )
    assert a.ours["accuracy"].mean == 91.0  # as many runs are here: they count
    ((_, _, (a, _)),) = record.recalled([(part, table, [result("a", 90.0), result("b")])], known)
    assert a.ours["accuracy"].n == 3  # fewer are
    ((_, _, (a, _)),) = record.recalled([(other, table, [result("a"), result("b")])], known)
    assert not a.ours  # other settings
    assert (
        record.text(record.recalled([(part, table, [result("a"), result("b")])], known))
        == path.read_text()
    )
    half = Result(
        Row("a", "the a", "ecg"),
        (State("finished"), State("none")),
        2,
        ours={"accuracy": Measured.of([80.0])},
        protocol="n = 1 seed",
    )
    # a row that is not complete is gone on with, not kept
    assert record.text([(part, table, [half])]) == "{}\n"


def test_what_is_recorded_is_not_trained_again(tmp_path):
    part = campaign.Part("yin2021-fig3d", ("ecg",), ("epochs=2",), seeds=(0, 5))
    ((_, jobs),) = campaign.jobs([part], tmp_path, {(part.command, "ecg-gaussian")})
    assert len(jobs) == 6
    assert "Gaussian" not in {type(job.task.network.surrogate).__name__ for job in jobs}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"c": {"a": {}}}',
        '{"c": {"a": {"protocol": "", "ours": {"accuracy": {"mean": "x"}}}}}',
    ],
)
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "claims.json").write_text(text)
    with pytest.raises(RunError, match="is no record of measurements"):
        record.read(tmp_path / "claims.json")

"""`srnn reproduce`: what it prints, writes and refuses; the pictures of a table."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from srnn import decode, papers, tasks
from srnn.datasets import qtdb
from srnn.nn.networks import Output
from srnn.papers import draw, report
from srnn.papers.jobs import Presence, State, jobs_of
from srnn.papers.results import Measured, Result, read
from srnn.papers.table import Picture, Row, Table
from srnn.tasks.settings import override
from srnn.training.train import fit

TINY = (
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=1",
    "network.hidden=[6]",
)


def strict(text):
    return json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


# ── without training ──────────────────────────────────────────────────────────────────────────────


def test_the_tables_are_listed(srnn):
    code, out, err = srnn("reproduce")
    assert (code, err) == (0, "")
    names = [t.name for t in papers.tables()]
    assert [name for name in names if not re.search(rf"^\s*{name}\s", out, re.M)] == []
    code, out, _ = srnn("reproduce", "--list", "--json")
    assert [t["name"] for t in strict(out)] == names
    assert {t["name"]: t["costs"] for t in strict(out)}["bittar2022-energy"] == [
        "mac",
        "ac",
        "energy",
        "energy_ratio",
    ]


def test_costs_need_no_training_and_no_data(srnn, tmp_path, monkeypatch):
    monkeypatch.setattr(Presence, "missing", lambda *a: pytest.fail("data was looked for"))
    code, out, err = srnn("reproduce", "yin2020-table2", "--only-costs", "--out", tmp_path)
    assert (code, err) == (0, "")
    lines = {line.split(":")[0].strip(): line for line in out.splitlines() if " = " in line}
    assert re.search(r"LSTM: .* 5868 = ", lines["LSTM"])
    assert "72 =" in lines["adaptive"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "yin2020-table2-costs.csv",
        "yin2020-table2-costs.md",
    ]
    rows = list(csv.DictReader((tmp_path / "yin2020-table2-costs.csv").open()))
    assert {r["verdict"] for r in rows} == {"equal"}
    assert len(rows) == 8


def test_a_number_that_differs_is_explained_in_place(srnn, tmp_path):
    code, out, _ = srnn(
        "reproduce",
        "yin2021-tableS2",
        "--only-costs",
        "--rows",
        "ssc-relu",
        "ssc-ours",
        "--out",
        tmp_path,
    )
    assert code == 0
    mark = re.search(r"765780 ≠ 778035 (\[\d+\])", out)[1]
    assert f"{mark} the paper counts the read-out of SHD in place of SSC's" in out
    assert "2435 =" in out
    code, out, _ = srnn(
        "reproduce",
        "yin2021-tableS2",
        "--only-costs",
        "--rows",
        "ecg-lif",
        "--json",
        "--out",
        tmp_path,
    )
    found = {c["metric"]: c for c in strict(out)}
    assert (found["mac"]["computed"], found["mac"]["verdict"]) == (42.0, "equal")
    assert found["energy"]["computed"] == pytest.approx(179.88)
    assert "energy_ratio" not in found  # the row it is compared with was left out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["yin2021-tabel2"], "There is no table 'yin2021-tabel2'. Did you mean 'yin2021-table2'?"),
        (
            ["yin2021-table1", "--only-costs"],
            "yin2021-table1 has no published costs. Leave out --only-costs.",
        ),
        (
            ["yin2021-table2", "--rows", "ecg-x*"],
            "yin2021-table2 has no row 'ecg-x*'. Rows: ecg-ours, ",
        ),
        (
            ["yin2021-table2", "--on", "ecg", "--read", "--set", "epoch=3"],
            "--set epoch: Task has no setting 'epoch'. Did you mean 'epochs'?",
        ),
        (["yin2021-table2", "--read", "--seeds", "1", "1"], "--seeds 1 1: one is given twice."),
        (
            ["yin2021-table2", "--read", "--seeds", "-1"],
            "--seeds is -1; expected a number of at least 0",
        ),
        (
            ["yin2021-table2", "--read", "--jobs", "0"],
            "--jobs is 0; expected a number of at least 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(srnn, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = srnn("reproduce", *words)
    assert (code, out) == (2, "")
    assert err.startswith("srnn reproduce: ")
    assert message in err
    assert list(tmp_path.iterdir()) == []


# ── with training ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with made-up ECG in the true format."""
    folder = tmp_path_factory.mktemp("data")
    qtdb.made_up(folder)
    return folder


def test_a_table_is_trained_printed_and_written(srnn, made, tmp_path):
    words = [
        "reproduce",
        "yin2021-table2",
        "--rows",
        "ecg-ours",
        "ecg-gru",
        "shd-ours",
        "--seeds",
        "0",
        "1",
        "--jobs",
        "2",
        "--set",
        "epochs=1",
        "--runs",
        tmp_path / "runs",
        "--out",
        tmp_path / "out",
        "--data-dir",
        made,
    ]
    code, out, err = srnn(*words)
    assert code == 0, err
    assert len(re.findall(r"^\[\d of 4\] ecg, ecg-(?:ours|gru) seed [01]: \d", err, re.M)) == 4
    # a seed of every row before the next
    assert [line.split(" seed ")[1][0] for line in err.splitlines()][:2] == ["0", "0"]
    assert "cannot run here" in out
    assert "No shd/shd_train.h5" in out
    rows = {r["row"]: r for r in csv.DictReader((tmp_path / "out/yin2021-table2.csv").open())}
    ours = rows["ECG, SRNN"]
    mean = float(ours["ours"].split()[0])
    assert ours["published"] == "85.9 %"
    assert float(ours["difference"]) == pytest.approx(mean - 85.9, abs=0.006)
    assert ours["95 % ours"] == "not applicable"
    assert ours["runs and protocol"] == "n = 2 seeds, 1 epoch, selected by validation accuracy"
    assert rows["ECG, GRU"]["sees"] == "events of two leads, 4 channels (published: analog samples)"
    assert rows["ECG, GRU"]["published"] == ""
    text = (tmp_path / "out/yin2021-table2.md").read_text()
    assert text.startswith("# yin2021-table2: ")
    assert "Source: Yin, Corradi & Bohté 2021, Table 2." in text
    assert (tmp_path / "out/yin2021-table2-ecg.svg").stat().st_size > 1000
    code, out, err = srnn(*words, "--read", "--json")
    assert (code, err) == (0, "")
    first = strict(out)[0]
    assert first["published"]["accuracy"] == 85.9
    assert first["ours"]["accuracy"]["mean"] == pytest.approx(mean, abs=0.006)
    assert [r["state"] for r in first["runs"]] == ["finished", "finished"]
    assert not (Path(first["runs"][0]["path"]) / "figures").exists()


def test_a_folder_that_cannot_be_written_is_refused(srnn, made, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = srnn(
        "reproduce",
        "yin2021-table2",
        "--rows",
        "ecg-ours",
        "--set",
        "epochs=1",
        "--runs",
        tmp_path / "file",
        "--data-dir",
        made,
    )
    assert code == 2
    assert (
        "cannot be created: Not a directory. Choose a folder you may write to with --runs."
    ) in err
    assert (tmp_path / "file").read_text() == "mine"


# ── what is said of results ───────────────────────────────────────────────────────────────────────


def result(**more):
    row = Row("a", "A", "fsdd", (), "sound", {"accuracy": "90.0"})
    given = {
        "row": row,
        "states": (State("finished"),),
        "seeds": 1,
        "ours": {"accuracy": Measured.of([80.0, 84.0])},
        "recordings": 200,
    }
    return Result(**{**given, **more})


def test_credible_intervals_are_of_the_recordings():
    r = result()
    low, high = r.interval("ours")
    assert (low, high) == pytest.approx((76.1, 86.7), abs=0.15)  # Beta(165, 37)
    assert r.interval("published")[0] == pytest.approx(85.1, abs=0.15)
    assert r.difference == pytest.approx(-8.0)
    other = Row("a", "A", "fsdd", (), "sound", {"accuracy": "90.0", "recordings": "2,264"})
    assert np.diff(result(row=other).interval("published")) == pytest.approx(2 * 1.24, abs=0.05)
    assert result(per_step=True).interval("ours").startswith("not applicable")
    assert result(ours={}).interval("ours") == ""
    assert result(simulated=True).interval("published") == ""


def test_what_became_of_runs_is_said():
    states = (
        State("finished"),
        State("finished"),
        State("diverged", "Epoch 1, batch 2: no.\n  Usual repairs"),
        State("none"),
    )
    assert result(states=states).status == (
        "2 runs, 1 diverged (Epoch 1, batch 2: no.\n  Usual repairs), 1 to train"
    )
    table = Table("t", "T", "S", (result().row,))
    columns, rows, feet = report.shown(
        table, [result(states=states, protocol="n = 2 seeds, 1 epoch")]
    )
    assert (
        dict(zip(columns, rows[0], strict=True))["runs"] == "2 runs [1], 1 diverged [2], 1 to train"
    )
    assert feet[1] == "[2] Epoch 1, batch 2: no.\n  Usual repairs"
    assert "| 2 seeds" not in report.markdown(table, ("a|b",), [("x|y\nz",)])
    assert "| x\\|y z |" in report.markdown(table, ("a|b",), [("x|y\nz",)])


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Rows of a grid on simulated ECG, trained here."""
    runs = tmp_path_factory.mktemp("runs")
    rows = tuple(
        Row(
            f"h{h}-s{s}",
            f"h {h}, s {s}",
            "ecg_sim",
            (*TINY, f"network.surrogate.h={h}", f"network.surrogate.s={s}"),
            "events",
            at={"h": h, "s": s},
        )
        for h, s in ((0.1, 2), (0.3, 2), (0.1, 6))
    )
    table = Table("t", "T", "S", rows)
    for row in rows:
        (job,) = jobs_of(table, row, runs, [0])
        fit(job.task, job.path, seed=0)
    return rows, read(table, runs, [0], (), Presence(None))


def of(drawn, tmp_path, kind, **more):
    rows, results = drawn
    files = draw.draw(
        Table("t", "T", "S", rows, picture=Picture(kind, **more)), results, tmp_path, None
    )
    assert len(files) % 2 == 0
    return {p.name: json.loads(p.read_text()) for p in files if p.suffix == ".json"}, [
        p for p in files if p.suffix == ".svg"
    ]


def test_a_grid_is_drawn_with_what_failed_left_empty(drawn, tmp_path):
    numbers, pictures = of(drawn, tmp_path, "grid", x="s", y="h")
    (grid,) = numbers.values()
    accuracy = [r.ours["accuracy"].mean / 100 for r in drawn[1]]
    assert grid["accuracy"][0] == pytest.approx([accuracy[0], accuracy[2]])
    assert grid["accuracy"][1][0] == pytest.approx(accuracy[1])
    assert grid["accuracy"][1][1] is None
    assert "SIMULATED" in pictures[0].read_text()


def test_bars_pareto_time_constants_and_a_stream(drawn, tmp_path):
    numbers, _ = of(drawn, tmp_path, "bars", shows="rate")
    assert numbers["t-figure.json"]["ours"]["h 0.1, s 2"]["mean"] == pytest.approx(
        drawn[1][0].ours["rate"].mean
    )
    numbers, _ = of(drawn, tmp_path, "pareto")
    assert len(numbers["t-ecg_sim-figure.json"]["points"]) == 3
    numbers, pictures = of(drawn, tmp_path, "time_constants")
    assert len(pictures) == 3
    before = numbers["t-h0.1-s2-figure.json"]["layers.0"]["tau_m"]["before"]
    torch.manual_seed(0)
    net = drawn[0][0].resolved().build()
    assert before == pytest.approx(net.layers[0].constants()["tau_m"].tolist())
    numbers, pictures = of(drawn, tmp_path, "streaming")
    assert len(numbers["t-h0.3-s2-figure.json"]["decoded"]) == 24
    assert len(pictures) == 3


@pytest.mark.parametrize("pool", ["softmax_sum", "mean", "last", "max_over_time", "spike_count"])
def test_scores_so_far_end_with_the_scores(pool):
    task = override(
        tasks.load("fsdd_spikes"),
        [f"decode.pool={pool}", f"decode.skip={0 if pool == 'last' else 2}"],
    )
    lengths = torch.tensor([9, 5, 3])
    x = torch.randn(3, 9, 10, generator=torch.Generator().manual_seed(0)) + (
        2.0 if pool == "max_over_time" else 0.0
    )
    x = torch.where(torch.arange(9)[None, :, None] < lengths[:, None, None], x, 0.0)
    so_far = draw.scores_so_far(task, Output(x, x, (), None), lengths)
    whole = task.decode.scores(Output(x, x, (), None), lengths)
    assert torch.allclose(decode.last(so_far, lengths), whole, atol=1e-6)
    for t in (4, 8):  # as if the recordings had ended there
        ended = lengths.clamp(max=t)
        assert torch.allclose(
            so_far[:, t - 1][lengths >= t],
            task.decode.scores(Output(x[:, :t], x[:, :t], (), None), ended)[lengths >= t],
            atol=1e-6,
        )

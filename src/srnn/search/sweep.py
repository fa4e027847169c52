"""Search over the settings of a task with Optuna, in as many processes as there are, on one machine
or many.

The state of a search is its study, in a journal file or a database; everything here can be killed
and started again. Trials are chosen and judged by validation accuracy alone, the test part is never
evaluated. A trial is a run folder (`trial-0007`) like any other, that `srnn train --resume` can
finish.

    claim   under a file lock: mark trials of dead processes as interrupted, stop when there are
            enough, else ask for the next settings
    train   with a report each epoch, from which a hopeless trial may be pruned
    tell    the accuracy, or why there is none
"""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from srnn import _files, processes
from srnn._check import ConfigError, DataError, RunError, SrnnError, check_range
from srnn.locks import FileLock, FileLocks, Locks, ServerLocks
from srnn.search.space import Dimension, check_honest
from srnn.tasks.settings import describe, differences, override
from srnn.tasks.task import Task
from srnn.training.loop import Interrupted, Progress
from srnn.training.runs import Run, write_atomically
from srnn.training.session import Mode, stop_requests
from srnn.training.train import check_mode, fit, fit_together, gains

if TYPE_CHECKING:
    import optuna

Say = Callable[[str], None]


@dataclass(frozen=True)
class Sweep:
    """A search: what is searched, where its study is kept, and how a trial is trained.

    trials: in the study, of all processes together; interrupted ones do not count. journal: the
    file of the study, or None and `url` its database.
    out: folder of the runs. prune: stop trials that are worse than the median of the others at the
    same epoch.
    together: so many trials of a process in lockstep, where the backend gains from it. mode: how a
    GPU is used.
    """

    task: Task
    space: tuple[Dimension, ...]
    trials: int
    out: Path
    study: str
    journal: Path | None
    url: str | None = None
    data_dir: str | None = None
    seed: int = 0
    device: str = "cpu"
    backend: str = "auto"
    threads: int = 1
    prune: bool = False
    together: int = 1
    mode: Mode = field(default_factory=Mode)

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        check_range("--trials", self.trials, 1)
        check_range("--together", self.together, 1)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_honest(self.task)
        if not self.space:
            raise ConfigError(
                "sweep: nothing is searched. Give at least one --search, such as "
                "--search optimiser.lr=1e-3:1e-1:log."
            )
        if (self.journal is None) == (self.url is None):
            raise ConfigError("sweep: --journal and --storage: give one of them.")
        if processes.started() > 1:
            raise ConfigError(
                "sweep: torchrun trains one run in many processes; a sweep trains "
                "many runs. Use --jobs."
            )

    @property
    def locks(self) -> Locks:
        """What keeps the processes of the study apart: the server of the database, or files."""
        if self.url is not None and self.url.startswith("postgresql"):
            return ServerLocks(self.url)
        return FileLocks(self.lock_folder)

    @property
    def lock_folder(self) -> Path:
        """The folder of lock files, shared by all processes of the study."""
        return (
            self.out / ".locks"
            if self.journal is None
            else self.journal.with_name(f".{self.journal.name}.locks")
        )

    def folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.out / f"trial-{number:04d}"

    def open(self) -> optuna.Study:
        """Return the study, made anew where there is none.

        Raises `RunError` when it cannot be read or written.
        """
        made = _optuna()
        pruner = made.pruners.MedianPruner(
            n_startup_trials=4, n_warmup_steps=self.task.epochs // 10
        )
        try:
            if isinstance(self.locks, FileLocks):
                self.lock_folder.mkdir(parents=True, exist_ok=True)
            # of several that start at once one makes the tables and the study
            with self.locks.claiming():
                study: optuna.Study = made.create_study(
                    study_name=self.study,
                    storage=self._storage(),
                    direction="maximize",
                    load_if_exists=True,
                    pruner=pruner,
                )
                study.get_trials(deepcopy=False)
        except SrnnError:
            raise
        except ModuleNotFoundError as error:
            raise RunError(
                f"{self.url} needs the driver {error.name}, which is not installed. "
                'For PostgreSQL: pip install "srnn[database]", and an address that begins '
                "with postgresql+psycopg://."
            ) from error
        except OSError as error:
            raise RunError(
                f"{error.filename or self.journal} cannot be used: {error.strerror}."
            ) from error
        except Exception as error:  # whatever Optuna and the database's driver raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(
                f"{self.journal or self.url} cannot be used as a study: {first}."
            ) from error
        return study

    def _storage(self) -> Any:
        storages = _optuna().storages
        if self.url is not None:
            return storages.get_storage(self.url)
        assert self.journal is not None
        lock = FileLock(self.lock_folder / "journal")
        with lock:
            _mend(self.journal)
        # a link, on which Optuna would write elsewhere, is refused here
        _files.append(self.journal).close()
        return storages.JournalStorage(
            storages.journal.JournalFileBackend(str(self.journal), lock_obj=lock)
        )

    def prepare(self) -> bool:
        """Make the study and its folder, or join one that searches the same; return whether it is
        new. Raises `SrnnError` when it cannot be.
        """
        _optuna()
        check_mode(
            self.task.resolved(self.data_dir), self.device, self.backend, self.mode, self.together
        )
        about = {
            "task": self.task.name,
            "resolved": describe(self.task),
            "search": [d.text for d in self.space],
            "seed": self.seed,
        }
        taken, mark = (
            (f"{self.out} holds the runs of another sweep. Choose another folder with --out."),
            Run(self.out),
        )
        if self.journal is None or not self.journal.exists():  # before anything is written
            if self.journal is not None and any(self.out.glob("trial-*")):
                raise RunError(taken)
            self.task.resolved(self.data_dir).load(self.data_dir)
        study = self.open()
        with self.locks.claiming():
            stored = study.user_attrs.get("sweep")
            changed = (
                differences({k: v for k, v in stored.items() if k != "id"}, about) if stored else []
            )
            if changed:
                raise ConfigError(
                    f"the study {self.study!r} in {self.journal or self.url} searches "
                    f"something else ({'; '.join(changed[:3])}). "
                    "Join it with the same options, or choose another --study."
                )
            known = mark.read("sweep.json") if (self.out / "sweep.json").exists() else None
            if known is not None and known.get("id") != (stored or {}).get("id"):
                raise RunError(taken)
            sweep = stored or {**about, "id": uuid.uuid4().hex}
            if known is None:
                self.out.mkdir(parents=True, exist_ok=True)
                mark.write("sweep.json", {"study": self.study, **sweep})
            if stored is None:
                study.set_user_attr("sweep", sweep)
        return stored is None


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise SrnnError(
            'srnn sweep needs optuna. Install it with: pip install "srnn[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _mend(journal: Path) -> None:
    """Cut off a last line that a killed process or a full disk left half-written: whatever follows
    could not be read any more.
    """
    if not journal.exists():
        return
    with _files.append(journal) as file:
        content = journal.read_bytes()
        if content and b'"op_code"' not in content.split(b"\n", 1)[0]:
            raise RunError(
                f"{journal} is no journal of Optuna. Choose another file with "
                "--journal; it is left as it is."
            )
        whole = content.rfind(b"\n") + 1
        if whole and whole < len(content):
            file.truncate(whole)


# ── trials ────────────────────────────────────────────────────────────────────────────────────────


def work(
    sweep: Sweep, say: Say = lambda line: None, alive: Callable[[], bool] = lambda: True
) -> None:
    """Run trials until the study has enough of them. alive: asked after every epoch; False stops as
    a signal would.

    Raises `KeyboardInterrupt` when stopped, `DataError` and `RunError` when no trial could run.
    """
    torch.set_num_threads(sweep.threads)
    study = sweep.open()
    count = (
        sweep.together
        if sweep.together > 1
        and gains(sweep.task.resolved(sweep.data_dir), sweep.device, sweep.backend)
        else 1
    )
    with _answering(sweep), sweep.locks.worker() as me:
        while alive() and (
            claimed := [c for _ in range(count) if (c := claim(sweep, study, me)) is not None]
        ):
            if count == 1:
                _one(sweep, study, *claimed[0], 1, say, alive)
            else:
                _several(sweep, study, claimed, say, alive)


@contextlib.contextmanager
def _answering(sweep: Sweep) -> Iterator[None]:
    """Make one error of all that comes when the database goes away."""
    import sqlalchemy

    gone = (_optuna().exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
    try:
        yield
    except gone as error:
        raise RunError(
            f"{sweep.journal or sweep.url} does not answer any more: "
            f"{_first(error.__cause__ or error)}. "
            "What was in training is marked as interrupted; the same command joins the study again."
        ) from error


def _several(
    sweep: Sweep,
    study: optuna.Study,
    claimed: Sequence[tuple[optuna.Trial, tuple[str, ...]]],
    say: Say,
    alive: Callable[[], bool],
) -> None:
    """Train trials in lockstep, each of which tells the study for itself; raise what would have
    ended one of them alone.
    """
    with stop_requests() as stopped:
        ends = fit_together(
            [partial(_one, sweep, study, *c, len(claimed), say, alive) for c in claimed]
        )
        if stopped():  # between two trainings too
            raise KeyboardInterrupt
    if error := next((e for e in ends if isinstance(e, BaseException)), None):
        raise error


def claim(
    sweep: Sweep, study: optuna.Study, me: dict[str, Any]
) -> tuple[optuna.Trial, tuple[str, ...]] | None:
    """Return the next trial and its settings, or None when the study has enough.

    No two processes are in here at once.
    """
    optuna = _optuna()
    with sweep.locks.claiming():
        reap(sweep, study)
        known = study.get_trials(deepcopy=False)
        if sum(not t.user_attrs.get("interrupted") for t in known) >= sweep.trials:
            return None
        # the same settings for the same history
        seed = int(np.random.SeedSequence([sweep.seed, len(known)]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "constant_liar is experimental"
            study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        trial = study.ask()
        trial.set_user_attr("worker", me)
        trial.set_user_attr("folder", str(sweep.folder(trial.number)))
        return trial, tuple(f"{d.path}={d.suggest(trial)}" for d in sweep.space)


def reap(sweep: Sweep, study: optuna.Study) -> int:
    """Mark trials whose process has ended as interrupted; return how many.

    The caller holds the lock.
    """
    optuna, found, locks = _optuna(), 0, sweep.locks
    for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        worker = t.user_attrs.get("worker")
        # killed while it claimed; where processes share no lock, it may be about to sign
        if worker is None:
            old = (
                t.datetime_start is None or (datetime.now() - t.datetime_start).total_seconds() > 60
            )
            ended = sweep.journal is not None or old
        else:
            ended = locks.ended(worker)
        if ended:
            _fail(
                study,
                optuna.Trial(study, t._trial_id),
                "interrupted: its process has ended",
                interrupted=True,
            )
            found += 1
    return found


def _fail(
    study: optuna.Study, trial: optuna.Trial, reason: str, *, interrupted: bool = False
) -> None:
    trial.set_user_attr("reason", reason)
    if interrupted:
        trial.set_user_attr("interrupted", True)
    study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)


def _one(
    sweep: Sweep,
    study: optuna.Study,
    trial: optuna.Trial,
    settings: tuple[str, ...],
    together: int,
    say: Say,
    alive: Callable[[], bool],
) -> None:
    """Train one trial, of so many in lockstep, and tell the study how it went."""
    optuna, name = _optuna(), f"trial {trial.number}"
    say(f"{name}: {' '.join(settings)}")

    def epoch(row: dict[str, Any]) -> None:
        trial.report(row["validation_accuracy"], row["epoch"])
        if not alive():
            raise Interrupted("Stopped.")
        if sweep.prune and trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {row['epoch']}")

    try:
        task = override(sweep.task, settings)
        check_honest(task)
        found = fit(
            task,
            sweep.folder(trial.number),
            data_dir=sweep.data_dir,
            seed=sweep.seed,
            device=sweep.device,
            backend=sweep.backend,
            progress=Progress(epoch=epoch),
            test=False,
            together=together,
            mode=sweep.mode,
        )
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("reason", f"pruned {pruned}: worse than the median of the others")
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        say(f"{name}: pruned {pruned}")
    except (Interrupted, KeyboardInterrupt):
        _fail(study, trial, "interrupted", interrupted=True)
        say(f"{name}: interrupted")
        raise KeyboardInterrupt from None
    except (DataError, RunError) as error:  # it is not for the settings that it fails
        _fail(study, trial, f"interrupted: {_first(error)}", interrupted=True)
        raise
    except (SrnnError, MemoryError, torch.OutOfMemoryError) as error:
        _fail(study, trial, _first(error))
        say(f"{name}: failed: {_first(error)}")
    except BaseException as error:
        with contextlib.suppress(Exception):
            _fail(study, trial, f"interrupted: {_first(error)}", interrupted=True)
        raise
    else:
        for key in (
            "epochs",
            "best_epoch",
            "seconds",
            "parameters",
            "firing_rate",
            "sops_per_sample",
        ):
            trial.set_user_attr(key, found[key])
        trial.set_user_attr(
            "energy", {rules: count["energy"] for rules, count in found["energy"].items()}
        )
        study.tell(trial, found["validation_accuracy"])
        say(
            f"{name}: {100 * found['validation_accuracy']:.2f} % of the validation part (epoch "
            f"{found['best_epoch']} of {found['epochs']})"
        )


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# ── results ───────────────────────────────────────────────────────────────────────────────────────


def results(sweep: Sweep) -> dict[str, Any]:
    """Return the study so far: {"study", "task", "simulated", "seed", "wanted", "trials": a row
    each, "best": a row or None}.
    """
    states = {
        "COMPLETE": "complete",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
        "WAITING": "waiting",
    }
    study = sweep.open()
    with sweep.locks.claiming():
        reap(sweep, study)
    rows = []
    for t in study.get_trials(deepcopy=False):
        about = t.user_attrs
        reported = [v for _, v in sorted(t.intermediate_values.items())]
        rows.append(
            {
                "trial": t.number,
                "state": "interrupted" if about.get("interrupted") else states[t.state.name],
                "validation_accuracy": t.value if t.state.name == "COMPLETE" else None,
                "epochs": len(reported),
                "best_epoch": about.get("best_epoch"),
                "firing_rate": about.get("firing_rate"),
                "sops_per_sample": about.get("sops_per_sample"),
                "parameters": about.get("parameters"),
                **{f"energy_{rules}": value for rules, value in about.get("energy", {}).items()},
                "seconds": about.get("seconds"),
                "settings": {
                    d.path: d.shown(t.params[d.path]) for d in sweep.space if d.path in t.params
                },
                "reason": about.get("reason", ""),
                "folder": about.get("folder", ""),
            }
        )
    complete = [r for r in rows if r["state"] == "complete"]
    best = max(complete, key=lambda r: (r["validation_accuracy"], -r["trial"]), default=None)
    return {
        "study": sweep.study,
        "task": sweep.task.name,
        "simulated": sweep.task.data.simulated,
        "seed": sweep.seed,
        "wanted": sweep.trials,
        "trials": rows,
        "best": best,
    }


def write_csv(sweep: Sweep, found: dict[str, Any]) -> Path:
    """Write the table of trials to out/trials.csv, a column a searched setting; return its path."""
    import csv
    import io

    paths = [d.path for d in sweep.space]
    plain = list(
        dict.fromkeys(
            k for row in found["trials"] for k in row if k not in ("settings", "reason", "folder")
        )
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *paths, "reason", "folder"])
    for row in found["trials"]:
        cells = (
            [row.get(k) for k in plain]
            + [row["settings"].get(p) for p in paths]
            + [row["reason"], row["folder"]]
        )
        writer.writerow(["" if c is None else c for c in cells])
    path = sweep.out / "trials.csv"
    write_atomically(path, text.getvalue().encode())
    return path

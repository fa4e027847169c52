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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from srnn._check import DataError, RunError, SrnnError
from srnn.search.space import check_honest
from srnn.search.study import Sweep, claim, fail, load_optuna
from srnn.tasks.settings import override
from srnn.training.loop import Interrupted, Progress
from srnn.training.session import stop_requests
from srnn.training.train import fit, fit_together, gains

if TYPE_CHECKING:
    import optuna

Say = Callable[[str], None]

_KEPT = ("epochs", "best_epoch", "seconds", "parameters", "firing_rate", "sops_per_sample")
"""What the study keeps of a finished trial's metrics, beside its energies."""


def work(
    sweep: Sweep, say: Say = lambda line: None, alive: Callable[[], bool] = lambda: True
) -> None:
    """Run trials until the study has enough of them. alive: asked after every epoch; False stops as
    a signal would.

    Raises `KeyboardInterrupt` when stopped, `DataError` and `RunError` when no trial could run.
    """
    torch.set_num_threads(sweep.threads)
    study = sweep.open()
    count, task = sweep.together, sweep.task.resolved(sweep.data_dir)
    if count > 1 and not gains(task, sweep.device, sweep.backend):
        count = 1
    with _answering(sweep), sweep.locks.worker() as me:
        while alive():
            claimed = [c for _ in range(count) if (c := claim(sweep, study, me)) is not None]
            if not claimed:
                break
            if count == 1:
                _one(sweep, study, *claimed[0], 1, say, alive)
            else:
                _several(sweep, study, claimed, say, alive)


@contextlib.contextmanager
def _answering(sweep: Sweep) -> Iterator[None]:
    """Make one error of all that comes when the database goes away."""
    import sqlalchemy

    gone = (load_optuna().exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
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
    optuna, name = load_optuna(), f"trial {trial.number}"
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
        fail(study, trial, "interrupted", interrupted=True)
        say(f"{name}: interrupted")
        raise KeyboardInterrupt from None
    except (DataError, RunError) as error:  # it is not for the settings that it fails
        fail(study, trial, f"interrupted: {_first(error)}", interrupted=True)
        raise
    except (SrnnError, MemoryError, torch.OutOfMemoryError) as error:
        fail(study, trial, _first(error))
        say(f"{name}: failed: {_first(error)}")
    except BaseException as error:
        with contextlib.suppress(Exception):
            fail(study, trial, f"interrupted: {_first(error)}", interrupted=True)
        raise
    else:
        for key in _KEPT:
            trial.set_user_attr(key, found[key])
        energy = {rules: count["energy"] for rules, count in found["energy"].items()}
        trial.set_user_attr("energy", energy)
        study.tell(trial, found["validation_accuracy"])
        say(
            f"{name}: {100 * found['validation_accuracy']:.2f} % of the validation part (epoch "
            f"{found['best_epoch']} of {found['epochs']})"
        )


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

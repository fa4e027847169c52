"""A search and its study: what is searched, where its state is kept, and which trial comes next."""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srnn import _files, processes
from srnn._check import ConfigError, RunError, SrnnError, check_range
from srnn.locks import FileLock, FileLocks, Locks, ServerLocks
from srnn.search.space import Dimension, check_honest
from srnn.tasks.settings import describe, differences
from srnn.tasks.task import Task
from srnn.training.runs import Run
from srnn.training.session import Mode
from srnn.training.train import check_mode

if TYPE_CHECKING:
    import optuna


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
        if self.journal is None:
            return self.out / ".locks"
        return self.journal.with_name(f".{self.journal.name}.locks")

    def folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.out / f"trial-{number:04d}"

    def open(self) -> optuna.Study:
        """Return the study, made anew where there is none.

        Raises `RunError` when it cannot be read or written.
        """
        made = load_optuna()
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
        storages = load_optuna().storages
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
        load_optuna()
        check_mode(
            self.task.resolved(self.data_dir), self.device, self.backend, self.mode, self.together
        )
        about = {
            "task": self.task.name,
            "resolved": describe(self.task),
            "search": [d.text for d in self.space],
            "seed": self.seed,
        }
        taken = f"{self.out} holds the runs of another sweep. Choose another folder with --out."
        mark = Run(self.out)
        if self.journal is None or not self.journal.exists():  # before anything is written
            if self.journal is not None and any(self.out.glob("trial-*")):
                raise RunError(taken)
            self.task.resolved(self.data_dir).load(self.data_dir)
        study = self.open()
        with self.locks.claiming():
            stored, changed = study.user_attrs.get("sweep"), []
            if stored:
                changed = differences({k: v for k, v in stored.items() if k != "id"}, about)
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


def load_optuna() -> Any:
    """Return Optuna, which says errors only. Raises `SrnnError` where it is not installed."""
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


def claim(
    sweep: Sweep, study: optuna.Study, me: dict[str, Any]
) -> tuple[optuna.Trial, tuple[str, ...]] | None:
    """Return the next trial and its settings, or None when the study has enough.

    No two processes are in here at once.
    """
    optuna = load_optuna()
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
    optuna, found, locks = load_optuna(), 0, sweep.locks
    for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        worker = t.user_attrs.get("worker")
        # killed while it claimed; where processes share no lock, it may be about to sign
        if worker is None:
            began = t.datetime_start
            old = began is None or (datetime.now() - began).total_seconds() > 60
            ended = sweep.journal is not None or old
        else:
            ended = locks.ended(worker)
        if ended:
            trial = optuna.Trial(study, t._trial_id)
            fail(study, trial, "interrupted: its process has ended", interrupted=True)
            found += 1
    return found


def fail(
    study: optuna.Study, trial: optuna.Trial, reason: str, *, interrupted: bool = False
) -> None:
    """Tell the study that a trial failed; an interrupted one does not count."""
    trial.set_user_attr("reason", reason)
    if interrupted:
        trial.set_user_attr("interrupted", True)
    study.tell(trial.number, state=load_optuna().trial.TrialState.FAIL)

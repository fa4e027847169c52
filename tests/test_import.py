"""What `import srnn` loads: torch, numpy, and nothing that these do not load themselves."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

from waiting import GENEROUS

LATER = {
    "scipy",
    "matplotlib",
    "rich",
    "jsonargparse",
    "safetensors",
    "requests",
    "wfdb",
    "h5py",
    "soundfile",
    "librosa",
    "kaldi_native_fbank",
    "numba",
    "yaml",
    "tensorboard",
    "pandas",
}


@functools.cache
def loaded(statement: str) -> frozenset[str]:
    """Top-level modules in sys.modules after a statement, in a fresh interpreter."""
    code = (
        f"import json, sys; {statement}; print(json.dumps(sorted({{name.split('.')[0] for "
        f"name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=GENEROUS
    )
    return frozenset(json.loads(done.stdout))


def test_importing_loads_torch_and_numpy_only():
    """Beyond what torch and numpy load: the package itself and modules of the standard library."""
    before, after = loaded("import torch, numpy"), loaded("import srnn")
    assert after - before - set(sys.stdlib_module_names) == {"srnn"}
    assert "torch" in after
    assert not (after - before) & LATER
    # torch itself brings at most a few of them: the list means something
    assert len(LATER - before) >= 13


def test_energy_and_metrics_load_no_more():
    """scipy is for `credible_interval` alone, and loaded when that is called."""
    after = loaded("import srnn.energy, srnn.kernels.trace, srnn.metrics, srnn.decode")
    assert after - loaded("import torch, numpy") - set(sys.stdlib_module_names) == {"srnn"}


def test_the_measure_finds_a_library():
    assert "safetensors" in loaded("import safetensors")

#!/usr/bin/env bash
# Everything that needs a GPU, in one go: bash benchmarks/gpu.sh [FOLDER]. Writes its logs there (default $OUT, else build/gpu). PYTHON: an interpreter with
# torch (CUDA) and Triton; what the package needs beside them and is not there is installed where pip can.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-${OUT:-build/gpu}}
python=${PYTHON:-python3}
mkdir -p "$out"
export PYTHONPATH=$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # the kernels' tests ask torch for deterministic algorithms
$python -c "import numpy, scipy, safetensors, jsonargparse, rich, shtab, greenlet, matplotlib, jinja2, pytest, pytest_timeout, xdist" 2> /dev/null \
  || $python -m pip install -q -c constraints.txt numpy scipy safetensors "jsonargparse[signatures]" rich shtab greenlet matplotlib jinja2 pytest pytest-timeout pytest-xdist
failed=0
step() { # name, seconds it may take, command …
  local name=$1 limit=$2 begun=$SECONDS
  shift 2
  timeout "$limit" "$@" 2>&1 | tee "$out/$name.log" | tail -n "${LINES_SHOWN:-60}"
  local code=${PIPESTATUS[0]}
  echo "── $name: exit code $code, $((SECONDS - begun)) s"
  [ "$code" = 0 ] || failed=1
}
step parity 200 $python -m pytest -q -n "${WORKERS:-8}" -p no:warnings tests/kernels/test_parity.py tests/kernels/test_triton.py tests/training/test_graphed.py --deselect tests/kernels/test_triton.py::test_the_script_for_a_gpu_runs
step table 280 $python -m benchmarks.gpu --rounds 5 --json "$out/gpu.json"
step ecg_sim 60 $python -m srnn train ecg_sim --device cuda --graph --seed 1 --set epochs=20 --out "$out/ecg_sim"
for data in "${SRNN_DATA:-}" shared/data ../shared/data; do [ -d "$data" ] && break; done
if [ -d "$data" ]; then
  step ecg 60 $python -m srnn train ecg --data-dir "$data" --device cuda --set epochs=30 --graph --out "$out/ecg-one"
  step ecg_eight 120 $python -m srnn train ecg --data-dir "$data" --device cuda --set epochs=30 --graph --seeds 0:8 --together 8 --out "$out/ecg"
  step smnist 180 $python -m srnn train smnist --data-dir "$data" --device cuda --precision bfloat16 --graph --set epochs=2 --out "$out/smnist"
fi
exit $failed

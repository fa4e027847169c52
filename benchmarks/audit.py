"""What the package stands on, and what it must not hold: `make audit`.

    python -m benchmarks.audit

Known weaknesses of installed packages (pip-audit, where it is installed and its service can be
reached; if not, that is said), licences, secrets in the tracked files, calls in src that run what
they read (pickle, eval, a shell), addresses without TLS.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software "
    r"Foundation|MPL|Mozilla|Unlicense|Zlib|HPND|CC0|0BSD|Public Domain|LGPL|BlueOak|NCSA",
    re.I,
)
"""Licences that a dependency may have; LGPL for libraries that are loaded, not built in."""

KNOWN = {"neurobench": "Apache-2.0, in its repository"}
"""Installed things without a licence in their metadata, and what is known of them."""

SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE "
    r"KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bxox[abp]-[A-Za-z0-9-]{20,}|\bsk-[A-Za-z0-9]{32,}"
    r"|(?i:password|passwd|secret|api_?key)\s*[:=]\s*['\"][^'\"\s]{8,}['\"]"
)

RUNS = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "os.system",
    "yaml.load",
    "torch.load",
    "compile",
    "joblib.load",
}
"""Calls that run what they are given."""

OWN = {("src/srnn/kernels/gpu.py", "exec"), ("src/srnn/kernels/gpu.py", "compile")}
"""Such calls that are looked at and right: a kernel's text, printed from a traced step a line
before; nothing is read.
"""


def licences() -> list[str]:
    """Return packages whose licence is not on the list."""
    wrong = []
    for found in importlib.metadata.distributions():
        about, name = found.metadata, found.metadata["Name"]
        classifiers = [
            c.rpartition(" :: ")[2]
            for c in about.get_all("Classifier") or []
            if c.startswith("License")
        ]
        said = " ".join(
            [
                about.get("License-Expression") or "",
                *classifiers,
                (about.get("License") or "")[:200],
            ]
        ).strip()
        if not PERMISSIVE.search(said) and name not in KNOWN:
            wrong.append(f"{name}: licence {said[:80] or 'not said'}")
    return wrong


def secrets() -> tuple[int, list[str]]:
    """Return how many tracked files were read, and where something looks like a secret."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    texts = {
        name: (ROOT / name).read_text(errors="replace")
        for name in listed
        if name and (ROOT / name).is_file()
    }
    return len(texts), [
        f"{name}:{text.count(chr(10), 0, m.start()) + 1}: {m[0][:20]}…"
        for name, text in texts.items()
        for m in SECRETS.finditer(text)
    ]


def calls() -> tuple[int, list[str]]:
    """Return how many files of src were read, and the calls in them that run what they read, or
    fetch without TLS.
    """
    wrong, files = [], sorted((ROOT / "src").rglob("*.py"))
    for path in files:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                shell = any(
                    k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords
                )
                if (name in RUNS or shell) and (path.relative_to(ROOT).as_posix(), name) not in OWN:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.match(
                    r"http://(?=[a-z0-9])(?!127\.0\.0\.1|localhost|www\.w3\.org|\{|\[)", node.value
                )
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value[:60]}")
    return len(files), wrong


def weaknesses() -> tuple[bool, str]:
    """Return whether known weaknesses were looked up and none was found, and what was said."""
    program = shutil.which("pip-audit") or shutil.which(
        "pip-audit", path=str(Path(sys.executable).parent)
    )
    if program is None:
        return True, "NOT CHECKED: pip-audit is not installed (pip install pip-audit)"
    done = subprocess.run(
        [program, "--progress-spinner", "off", "--format", "json"], capture_output=True, text=True
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return True, f"NOT CHECKED: the service cannot be reached ({last[:120]})"
    asked = [p for p in packages if "skip_reason" not in p]
    weak = [
        f"{p['name']} {p['version']}: {', '.join(v['id'] for v in p['vulns'])}"
        for p in asked
        if p["vulns"]
    ]
    rest = (
        f"; NOT CHECKED: {len(packages) - len(asked)} packages that the service does not know "
        "or did not answer for"
    ) * (len(asked) < len(packages))
    return not weak, (
        f"{len(asked)} packages looked up, {len(weak)} with known ones {' '.join(weak)}"
    ).rstrip() + rest


def main() -> int:
    """Print what was found; 1 where something is wrong."""
    fine, said = weaknesses()
    print(f"known weaknesses: {said}")
    wrong = licences()
    print(
        f"licences: {len(list(importlib.metadata.distributions()))} packages, {len(wrong)} not "
        "on the list"
    )
    files, found = secrets()
    print(f"secrets: {files} tracked files, {len(found)} found")
    sources, run = calls()
    print(
        f"calls that run what they read, addresses without TLS: {sources} files of src, "
        f"{len(run)} found"
    )
    for line in wrong + found + run:
        print(f"  {line}")
    return 0 if fine and not wrong and not found and not run else 1


if __name__ == "__main__":
    sys.exit(main())

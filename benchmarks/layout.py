"""How the package is laid out, in numbers: floors, rooms, files at the top level, arrows.

    python -m benchmarks.layout              of this checkout
    python -m benchmarks.layout FOLDER …     of others, beside each other

A room is what lies directly in src/srnn, a file or a folder. A floor is a line of the import
contract in pyproject.toml. An arrow leads from a room to another one that it imports, lazily or
not, however often.
"""

from __future__ import annotations

import argparse
import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def arrows(source: Path) -> set[tuple[str, str]]:
    """Return (room, room that it imports) of a package's folder, `__init__.py` aside."""
    rooms = {p.stem if p.is_file() else p.name for p in source.iterdir() if is_room(p)}
    found = set()
    for path in source.rglob("*.py"):
        room = path.relative_to(source).parts[0].removesuffix(".py")
        if room not in rooms:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported(node, source.name):
                if name in rooms and name != room:
                    found.add((room, name))
    return found


def is_room(path: Path) -> bool:
    """Return whether a file or folder of the package is a room."""
    if path.is_file():
        return path.suffix == ".py" and path.name != "__init__.py"
    return (path / "__init__.py").exists()


def imported(node: ast.AST, package: str) -> list[str]:
    """Return the rooms that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return []
    parts = [name.split(".") for name in names]
    return [part[1] for part in parts if part[0] == package and len(part) > 1]


def floors(root: Path) -> list[list[str]]:
    """Return the floors of the import contract of a checkout, the top one first."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            return [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]
    raise SystemExit(f"{root / 'pyproject.toml'} has no contract of floors.")


def counts(root: Path) -> dict[str, int]:
    """Return what is counted of a checkout."""
    source = root / "src" / "srnn"
    return {
        "floors": len(floors(root)),
        "rooms": sum(is_room(path) for path in source.iterdir()),
        "modules at the top level": sum(path.suffix == ".py" for path in source.iterdir()),
        "folders at the top level": sum(
            path.is_dir() and is_room(path) for path in source.iterdir()
        ),
        "arrows between rooms": len(arrows(source)),
        "modules in all": len(list(source.rglob("*.py"))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", nargs="*", type=Path, default=[ROOT], help="default: this one")
    found = [(root, counts(root)) for root in parser.parse_args().checkout]
    print(f"{'':26}" + "".join(f"{root.resolve().name:>16}" for root, _ in found))
    for name in found[0][1]:
        print(f"{name:26}" + "".join(f"{numbers[name]:16,}" for _, numbers in found))
    for root, _ in found:
        print(f"\n{root.resolve().name}, from the top floor down:")
        print("\n".join(f"  {' | '.join(floor)}" for floor in floors(root)))


if __name__ == "__main__":
    main()

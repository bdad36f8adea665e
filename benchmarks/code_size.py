"""How large the code is and how far one has to read in it: the figures that a reader feels, of this checkout or of another one.

    python benchmarks/code_size.py [CHECKOUT ...]

Counted are Python files that git knows. Lines are all lines of a file. What `restore_video` reaches is every module of the project
that its own module imports, anywhere in a file, and what those import in turn; of a package's front, what it loads, not the names
that it lists for type checkers.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "iconface_video"
ROOTS = {"iconface_video": PACKAGE, "pipelines": f"{PACKAGE}.pipelines", "configs": f"{PACKAGE}.configs"}
"""Folder -> the package that it is once installed."""
RESEARCH = ("train", "evaluate", "lab")
"""Rooms of the second half: training, evaluation, benchmarks."""
SMALL_LINES, MANY_PARAMETERS = 50, 8


def main() -> None:
    for name in sys.argv[1:] or [str(Path(__file__).resolve().parents[1])]:
        print(f"{name}:")
        for what, figure in figures(Path(name)).items():
            print(f"  {what:58} {figure}")


def figures(checkout: Path) -> dict[str, str]:
    """What is measured -> the figure, for people."""
    files = [checkout / path for path in _tracked(checkout)]
    modules = {_module(path.relative_to(checkout)): path for path in files if path.relative_to(checkout).parts[0] in ROOTS}
    tests = [path for path in files if path.relative_to(checkout).parts[0] == "tests"]
    lines = {name: _lines(path) for name, path in modules.items()}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    test_trees = [ast.parse(path.read_text(encoding="utf-8")) for path in tests]
    reached = _reached(f"{PACKAGE}.pipelines.restore", trees)
    inits = {name for name, path in modules.items() if path.name == "__init__.py"}
    code, test_lines = sum(lines.values()), sum(map(_lines, tests))
    all_tests = [item for tree in test_trees for item in _functions(tree) if item.name.startswith("test_")]
    expecting = [item for item in all_tests if _expects_an_error(item)]
    wide = [
        f"{name}.{item.name}"
        for name, tree in trees.items()
        for item in _functions(tree)
        if _parameters(item) >= MANY_PARAMETERS
    ]
    return {
        "files of code and tests": f"{len(modules) + len(tests)} ({len(modules)} of code)",
        "lines of code and tests": f"{code + test_lines:,} ({code:,} of code)",
        f"modules under {SMALL_LINES} lines (without __init__)": str(
            sum(count < SMALL_LINES for name, count in lines.items() if name not in inits)
        ),
        "modules reached from restore_video": f"{len(reached)} ({sum(lines[name] for name in reached):,} lines)",
        "stems used twice or more within a half": str(_twins(set(modules) - inits)),
        f"functions with {MANY_PARAMETERS} or more parameters": str(len(wide)),
        "lines of tests to lines of code": f"{test_lines / code:.2f}",
        "tests that expect an error": f"{len(expecting) / max(1, len(all_tests)):.0%} of {len(all_tests)}",
    }


def _tracked(checkout: Path) -> list[str]:
    listed = subprocess.run(["git", "-C", str(checkout), "ls-files", "*.py"], check=True, capture_output=True, text=True)
    return listed.stdout.split()


def _module(path: Path) -> str:
    """pipelines/restore.py -> iconface_video.pipelines.restore."""
    parts = [*ROOTS[path.parts[0]].split("."), *path.parts[1:-1]]
    return ".".join(parts if path.name == "__init__.py" else [*parts, path.stem])


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without self or cls."""
    arguments = function.args
    names = [item.arg for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def _expects_an_error(test: ast.AST) -> bool:
    """Whether it says `raises`, or asks for an exit code that is not 0 or an HTTP status that refuses."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "raises")
        or (isinstance(node, ast.Name) and node.id in ("raises", "refused"))
        or (isinstance(node, ast.Compare) and _asks_for_a_failure(node))
        for node in ast.walk(test)
    )


def _asks_for_a_failure(compared: ast.Compare) -> bool:
    sides = [compared.left, *compared.comparators]
    names = {ast.unparse(side.func if isinstance(side, ast.Call) else side).rsplit(".", 1)[-1] for side in sides}
    numbers = [side.value for side in sides if isinstance(side, ast.Constant) and type(side.value) is int]
    if not numbers or not isinstance(compared.ops[0], (ast.Eq, ast.NotEq)):
        return False
    is_failure = (numbers[0] != 0) == isinstance(compared.ops[0], ast.Eq)
    return (bool(names & {"exit_code", "returncode", "main"}) and is_failure) or (
        "status_code" in names and isinstance(compared.ops[0], ast.Eq) and numbers[0] >= 400
    )


def _reached(start: str, trees: dict[str, ast.Module]) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in found or name not in trees:
            continue
        found.add(name)
        waiting += _imports(_loaded(trees[name]))
        waiting += [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]  # packages run their __init__
    return found


def _loaded(tree: ast.Module) -> ast.Module:
    """Without what a front that hands out its names one by one (`__getattr__`) lists for type checkers alone."""
    is_front = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    if not is_front:
        return tree
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return ast.Module(kept, [])


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _twins(modules: set[str]) -> int:
    """Names of files that stand twice or more in the same half."""
    halves: Counter[tuple[bool, str]] = Counter()
    for name in modules:
        rooms = name.split(".")
        halves[any(room in RESEARCH for room in rooms), rooms[-1]] += 1
    return sum(count > 1 for count in halves.values())


if __name__ == "__main__":
    main()

"""Repository rules: import direction, names, sizes, style, and commands that run from any folder."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CODE_FOLDERS = ("utils", "dataset", "models", "engine", "benchmarks", "tests")
TOOLS = Path(sys.executable).parent

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_CLI_LINES = 300, 60, 80
MAX_TRACKED_BYTES = 5_000_000


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    return sorted(path for path in [*files, *REPOSITORY.glob("*.py")] if "__pycache__" not in path.parts)


def is_command(path: Path) -> bool:
    return "run_command(main" in path.read_text(encoding="utf-8").partition("\nif __name__")[2]


COMMANDS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [*REPOSITORY.glob("*.py"), *(REPOSITORY / "utils").glob("*.py")]
    if is_command(path)
)


def run(*command: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


def tracked_files() -> list[Path]:
    done = run("git", "ls-files", "-z")
    if done.returncode != 0:
        pytest.skip("this copy is not a git clone")
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_imports_go_one_way():
    done = run(TOOLS / "lint-imports", "--no-cache", "--no-logo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contract_lists_all_commands():
    config = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    contract = config[config.index('name = "Nothing imports a command"') :]
    for command in COMMANDS:
        if command.startswith("utils/"):
            assert f'"utils.{Path(command).stem}"' in contract, (
                f"{command} is not in the import contract of pyproject.toml"
            )


def test_ruff_finds_no_problem():
    done = run(TOOLS / "ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout


def test_no_file_in_utils_shadows_the_standard_library():
    names = {path.stem for path in (REPOSITORY / "utils").iterdir()}
    assert not names & set(sys.stdlib_module_names)


def test_no_tracked_file_is_large():
    # The limit of the shipped weights and their export is in tests/test_shipped_weights.py.
    weights = [REPOSITORY / "checkpoint" / name for name in ("default.pth", "default.onnx")]
    large = [str(path) for path in tracked_files() if path not in weights and path.stat().st_size > MAX_TRACKED_BYTES]
    assert not large


def test_no_data_or_run_folder_is_tracked():
    shipped = {"README.md", "default.pth", "default.onnx", "default.json", "lip_sync.npz"}
    shipped |= {"face_detector.onnx", "small_face_detector.onnx"}
    allowed = {"data/.gitkeep", "checkpoint/.gitkeep"} | {f"checkpoint/{name}" for name in shipped}
    names = {path.relative_to(REPOSITORY).as_posix() for path in tracked_files()}
    assert {name for name in names if name.startswith(("data/", "checkpoint/"))} <= allowed


def test_file_and_function_sizes_are_within_limits():
    too_long = []
    for path in sources(*(folder for folder in CODE_FOLDERS if folder != "tests")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(REPOSITORY).as_posix()
        lines = len(text.splitlines())
        if lines > (MAX_CLI_LINES if name in ("main.py", "inference.py", "app.py") else MAX_FILE_LINES):
            too_long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = code_lines(node)
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{name}:{node.name}: {length} lines")
    assert not too_long


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def test_model_classes_are_not_checked_outside_their_file():
    classes = {
        node.name: path
        for path in (REPOSITORY / "models").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and path.stem not in ("base", "registry")
    }
    for path in sources("dataset", "engine", "utils", "models"):
        for found in re.findall(r"isinstance\([^)]*\b(\w+)\)", path.read_text(encoding="utf-8")):
            assert classes.get(found, path) == path, f"{path} checks for {found}"


def test_required_commands_exist():
    assert {"main.py", "inference.py", "utils/extract_ffdv.py"} <= set(COMMANDS)


def test_every_command_shows_help_from_another_folder(tmp_path):
    def call(command: str) -> subprocess.CompletedProcess:
        return run(sys.executable, REPOSITORY / command, "--help", cwd=tmp_path)

    with ThreadPoolExecutor(2) as pool:
        for command, done in zip(COMMANDS, pool.map(call, COMMANDS), strict=True):
            assert done.returncode == 0, f"{command}: {done.stderr}"
            assert done.stdout.startswith("usage: ") and not done.stderr
    assert not list(tmp_path.iterdir())


def test_every_command_rejects_an_unknown_flag_in_one_sentence(tmp_path):
    def call(command: str) -> subprocess.CompletedProcess:
        return run(sys.executable, REPOSITORY / command, "--no_such_flag", cwd=tmp_path)

    with ThreadPoolExecutor(2) as pool:
        for command, done in zip(COMMANDS, pool.map(call, COMMANDS), strict=True):
            assert done.returncode == 2, command
            assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1, done.stderr

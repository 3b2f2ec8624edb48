"""What the repository promises about itself: its commands, its sizes, its version, its tidiness."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("db", "oracles", "simkit", "studies")
MAX_LINES = 350


def readme_blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)


def tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_readme_opens_with_two_commands_of_one_line() -> None:
    install, test = readme_blocks()[:2]
    assert install.count("\n") == test.count("\n") == 1
    assert install.endswith("simkit demo\n")
    assert "tox" in test


@pytest.mark.process
def test_ci_runs_the_readmes_second_block(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    blocks = "```sh\necho the first ran\n```\n\n```sh\necho the second ran && echo '= 1 passed in 0.1s ='\n```\n"
    (tmp_path / "README.md").write_text(blocks)
    done = subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\nthe second ran\n" in done.stdout
    assert "\nthe first ran\n" not in done.stdout
    assert done.stdout.endswith("\n= 1 passed in 0.1s =\n")


@pytest.mark.process
def test_ci_fails_when_the_command_fails(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "README.md").write_text("```sh\ntrue\n```\n```sh\necho '= 1 passed in 0.1s =' && false\n```\n")
    assert subprocess.run(["bash", tmp_path / ".ci" / "run"], capture_output=True, check=False).returncode != 0


def test_hooks_run_what_ci_runs() -> None:
    hooks = re.findall(r"tox -q run -e (\S+)", (ROOT / ".pre-commit-config.yaml").read_text())
    environments = re.search(r"^env_list = (.*)$", (ROOT / "tox.ini").read_text(), flags=re.MULTILINE)
    assert environments is not None
    assert {"lint", "layers", "types"} == set(hooks) <= set(environments[1].split(", "))


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_short(package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")}
    assert lengths
    assert {path.name: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_the_version_is_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert version("b3d-simkit") == project["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.process
def test_no_tracked_file_names_a_folder_of_one_machine() -> None:
    machine = re.compile(rb"(?<![\w.~])/(?:home|root|Users|work|mnt)/\w")
    found = [path.relative_to(ROOT).as_posix() for path in tracked_files() if machine.search(path.read_bytes())]
    assert found == []


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """The modules of simkit's packages that each of them imports, wherever in its file it does."""
    modules = {module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[module] |= inner if inner <= modules.keys() else {node.module, *inner}
        graph[module] &= modules.keys() - {module}
    return graph


def test_no_two_modules_import_each_other() -> None:
    TopologicalSorter(import_graph()).prepare()  # raises CycleError, which names the circle


def test_no_wing_of_studies_stands_above_one_that_it_serves() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "wings")
    floor = {wing: number for number, layer in enumerate(layers) for wing in layer.split(" | ")}
    graph = import_graph()
    wing = {module: module.split(".")[1] for module in graph if module.startswith("studies.")}
    assert set(wing.values()) == set(floor)
    for module in wing:
        for other in {wing[found] for found in graph[module] & wing.keys()} - {wing[module]}:
            assert floor[wing[module]] < floor[other], f"{module} imports from {other}"


@pytest.mark.process
def test_every_path_that_the_architecture_names_is_there() -> None:
    """A name alone stands for a file beside the path before it on its line; paths of the past are listed below."""
    past = {"studies/prepared.py", "studies/commands/scan.py"}
    names = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    named = re.findall(r"`([\w./-]+/|[\w./-]+\.(?:py|md|toml|j2|jsonl))`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 150
    missing = [name for name in named if not any(f"/{name}" in f"/{known}" for known in names)]
    assert set(missing) == past


def test_every_test_that_a_promise_names_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py|tests/[\w/]+)`", page)
    paths = [ROOT / ("" if "/" in name else "tests/chaos") / name for name in names]
    assert len(paths) > 20
    assert [path for path in paths if not path.exists()] == []
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "promise" not in line]
    assert [row[0] for row in rows if "`test" not in row[2]] == []


def headings(page: Path) -> dict[str, str]:
    """The titles of a page by the anchors of its links."""
    titles = re.findall(r"^#{1,3} (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-"): title for title in titles}


@pytest.mark.process
def test_every_page_and_section_that_the_front_pages_and_comments_name_is_there() -> None:
    """Sphinx checks the links between the pages themselves."""
    named = re.compile(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+)|,(?: |\s*# |\n *)\"([^\"]+)\")?")
    wanted = [
        path for path in tracked_files() if path.suffix == ".py" or (path.parent == ROOT and path.suffix == ".md")
    ]
    links = [(path.name, *link) for path in wanted for link in named.findall(path.read_text(encoding="utf-8"))]
    assert len(links) > 50
    missing = [link for link in links if not (ROOT / link[1]).is_file()]
    assert missing == []
    for link in links:
        there = headings(ROOT / link[1])
        assert link[2] in ("", *there), link
        assert re.sub(r"\s+# ", " ", link[3]) in ("", *there.values()), link

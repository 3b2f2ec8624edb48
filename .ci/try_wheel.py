"""Build the wheel, install it into a fresh environment outside the checkout, and try it there; needs `uv` on the PATH.

Usage: python .ci/try_wheel.py highest|lowest-direct. Prints what it found; exits non-zero at the first thing wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

# Runs in the fresh environment, with -I: neither the working folder nor PYTHONPATH can lend it a module.
TRIAL = """
import importlib, importlib.metadata, pathlib, pkgutil, sys

PACKAGES = {"db", "oracles", "simkit", "studies"}
files = importlib.metadata.files("b3d-simkit")
tops = {file.parts[0] for file in files if ".dist-info" not in file.parts[0] and file.parts[0] != ".."}
assert tops == PACKAGES, f"the wheel's top-level names are {sorted(tops)}"
missing = set(sys.argv[1:]) - {file.as_posix() for file in files}
assert not missing, f"the wheel lacks {sorted(missing)}"

# What this wheel does not install by itself, by the name that is imported; what needs it says so when it is used.
optional = {"anyio", "art", "foolbox", "httpx2", "multipart", "prometheus_client", "starlette", "uvicorn"}
count = left = 0
for package in sorted(PACKAGES):
    root = importlib.import_module(package)
    assert pathlib.Path(root.__file__).is_relative_to(sys.prefix), f"{package} was imported from {root.__file__}"
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        if ".migrations." not in module.name:  # alembic runs those; they cannot be imported alone
            try:
                importlib.import_module(module.name)
            except Exception as error:
                missing = error if isinstance(error, ModuleNotFoundError) else error.__context__
                if getattr(missing, "name", None) not in optional:
                    raise
                left += 1
            count += 1
print(f"{count} modules of {len(PACKAGES)} packages import from the wheel, but for {left} that need what is optional")
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command, shown; raise CalledProcessError if it fails."""
    print("+", *command[: command.index("-c") if "-c" in command else None], flush=True)
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run(command, cwd=cwd, env=clean, check=True)


def expected() -> list[str]:
    """Every file of the four packages, and a `py.typed` in each, whether it is there or not."""
    packages = ("db", "oracles", "simkit", "studies")
    files = (path for package in packages for path in (CHECKOUT / package).rglob("*") if path.is_file())
    # other environments may be running in this checkout, and byte code has temporary names while it is written
    names = {path.relative_to(CHECKOUT).as_posix() for path in files if "__pycache__" not in path.parts}
    return sorted(names | {f"{package}/py.typed" for package in packages})


def main(resolution: str) -> None:
    """Build, install and try, in a temporary folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="simkit-wheel-") as name:
        folder = Path(name).resolve()
        python = folder / "fresh" / "bin" / "python"
        run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, CHECKOUT, cwd=folder)
        (wheel,) = folder.glob("*.whl")
        run("uv", "venv", "--quiet", "--python", sys.executable, folder / "fresh", cwd=folder)
        run("uv", "pip", "install", "--quiet", "--resolution", resolution, "--python", python, wheel, cwd=folder)
        run("uv", "pip", "check", "--python", python, cwd=folder)
        run(python, "-I", "-c", TRIAL, *expected(), cwd=folder)
        simkit = folder / "fresh" / "bin" / "simkit"
        run(simkit, "--version", cwd=folder)
        # 2 is what simkit's own error table makes of it: the table works with this version of typer
        run("sh", "-c", '"$0" no-such-command; test $? = 2', simkit, cwd=folder)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(__file__).name}: failed with exit code {error.returncode}")

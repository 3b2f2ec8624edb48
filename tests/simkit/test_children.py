"""Pools of child processes, under a Ctrl-C that reaches every process of a terminal while the children still start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PATIENCE = 60.0
"""Seconds that processes are given to end; their work would take longer."""

SCRIPT = """
    import multiprocessing
    import sys
    import time

    from simkit.children import children

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        context.set_forkserver_preload(["simkit.children"])
        try:
            print("begun", flush=True)
            with children(2, context, 1) as pool:
                pool.submit(time.sleep, 1000.0).result()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_an_interrupt_of_starting_children_is_told_by_none_and_survived_by_none(context: str, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(SCRIPT))
    called, environment = [sys.executable, str(script), context], os.environ | {"PYTHONPATH": str(Path.cwd())}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        called, text=True, env=environment, start_new_session=True, stdout=pipe, stderr=pipe
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        time.sleep(0.5)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=PATIENCE)  # returns when no process has the pipes any more
    assert (out, err, parent.returncode) == ("interrupted\n", "", 0)

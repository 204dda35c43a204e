"""Command lines side by side, each a process of its own: one that dies takes no other with it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import mfpde


def run_commands(
    commands: Sequence[Sequence[str]], jobs: int, standard_input: bytes = b""
) -> Generator[tuple[int, int, str, str]]:
    """Run ``commands``, at most ``jobs`` at a time; yield (index, exit code, stdout, stderr) as they end.

    If the generator is closed early, by an interruption for example, the running ones get SIGTERM and are waited for.
    They form groups of their own, so that an interrupt from the keyboard reaches them once, as that SIGTERM.
    """
    # the same mfpde as here, wherever this one was imported from
    home = str(Path(mfpde.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    running: set[subprocess.Popen[bytes]] = set()
    guard, stopped = threading.Lock(), False

    def work(command: Sequence[str]) -> tuple[int, str, str] | None:
        with guard:
            if stopped:
                return None
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
            )
            running.add(process)
        out, err = process.communicate(standard_input)
        running.discard(process)
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(work, command): k for k, command in enumerate(commands)}
        try:
            for future in as_completed(futures):
                result = future.result()
                assert result is not None
                yield futures[future], *result
        finally:
            with guard:
                stopped = True
                for process in running:
                    process.terminate()

"""Jobs on Ray. Ray is not installed in CI, where its processes would take too much memory and time.

Ray listens on all network interfaces, so it runs in a network namespace that has none but loopback.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.file_trees import files_in

PROGRAM = """
import os, re, signal, sys
from pathlib import Path
from dualhmr import JobOptions, run_job

options = JobOptions(adaptation="onnx", save=("npz", "overlay", "glb"))
killed = []

def actors():
    for folder in Path("/proc").glob("[0-9]*"):
        name = (folder / "cmdline").read_bytes()
        if name.startswith(b"ray::_Actor.work") and int(folder.name) not in killed:
            yield int(folder.name)

def kill_the_other(progress):
    own = int(progress.outcome.where.rpartition(":")[2])
    if not killed and progress.outcome.error is None:
        killed.extend(process for process in actors() if process != own)
        for process in killed:
            os.kill(process, signal.SIGKILL)

report = run_job(sys.argv[1], sys.argv[2], options=options, recursive=True, workers=2, ray="",
                 progress=kill_the_other)
print("killed", *killed)
print(report)
"""


def can_isolate() -> bool:
    """Whether a process may have a network of its own, of loopback alone."""
    isolated = ["unshare", "-rn", "ip", "link", "set", "lo", "up"]
    return (
        all(map(shutil.which, ("unshare", "ip")))
        and not subprocess.run(isolated, check=False, capture_output=True).returncode
    )


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
@pytest.mark.skipif(not can_isolate(), reason="needs a network namespace")
def test_ray_gives_the_same_files_where_an_actor_is_killed(
    photos: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    copies = tmp_path / "photos"
    names = ("first", "second", "third")
    for name in names:
        shutil.copytree(photos, copies / name)
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    isolated = 'ip link set lo up; exec "$0" "$@"'
    command = ["unshare", "-rn", "sh", "-c", isolated, sys.executable]
    done = subprocess.run(
        [*command, str(program), str(copies), str(out)],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The killed actor was at work; whether it had finished another item before is by chance.
    killed, report = done.stdout.splitlines()[-2:]
    assert len(killed.split()) == 2, "one actor was at work when the other was done"
    assert report == "JobReport(9 done, 0 kept, 3 failed)"
    assert files_in(out / "results") == {
        f"{name}/{path}": content for name in names for path, content in uninterrupted.items()
    }

"""All that a GPU has to show, in at most eight minutes: correctness first, then time.

`python benchmarks/scripts/gpu_day.py --out FOLDER` runs stage after stage, each in a process of its
own, and writes each result at once. Run again, it does what is missing. Each stage has its seconds,
and those that earlier ones have left over; one that no longer fits is left out, and the
results say so. What is not installed is named, too. `--device cpu --quick` shows that it runs.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dualhmr.files import write_json
from dualhmr_benchmarks.latency.gpu_stages import NOT_HERE, Day, Result, stages
from dualhmr_training.plotting import new_figure, save_figure


def _take(day: Day, stage: str) -> Result:
    """A stage's result; an error becomes one, too."""
    start = time.perf_counter()
    try:
        result = stages(day)[stage].run()
    except (ImportError, FileNotFoundError) as error:
        result = {NOT_HERE: str(error)}
    except Exception as error:  # a device's errors are of many kinds, and the next stage may work
        result = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    result |= {"took_s": time.perf_counter() - start}
    # JSON has no numbers that are not finite; here they are findings.
    return dict(json.loads(json.dumps(result), parse_constant=str))


def _take_apart(day: Day, stage: str, seconds: float) -> Result:
    """The same in a process of its own: an error of the GPU or a hang ends only that."""
    command = [sys.executable, __file__, "--out", str(day.out), "--device", day.device]
    try:
        ended = subprocess.run(
            [*command, "--stage", stage], timeout=seconds, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} s"}
    try:
        return dict(json.loads(ended.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        return {"error": f"ended with {ended.returncode}", "trace": ended.stderr[-4000:]}


def take_all(day: Day, minutes: float) -> Iterator[tuple[str, Result]]:
    """Stages and their results, those of earlier runs too; all that is done fits into `minutes`."""
    end, planned = time.perf_counter() + 60 * minutes, stages(day)
    results = {stage: _known(_path(day, stage)) for stage in planned}
    missing = [stage for stage, result in results.items() if result is None]
    for stage, result in results.items():
        if result is None:
            left, own = end - time.perf_counter(), planned[stage].seconds
            missing.remove(stage)
            if left < own:
                said = f"it may take {own:.0f} s, and {max(left, 0):.0f} s are left; run it again"
                yield stage, {"left_out": said}
                continue
            saved = left - own - sum(planned[later].seconds for later in missing)
            seconds = own + max(saved, 0)
            result = _take(day, stage) if day.quick else _take_apart(day, stage, seconds)
            write_json(_path(day, stage), result)
        yield stage, result


def _path(day: Day, stage: str) -> Path:
    return day.out / f"{stage.replace(' ', '_')}.json"


def _known(path: Path) -> Result | None:
    """The result of an earlier run, if it is one."""
    known: Result = json.loads(path.read_text()) if path.exists() else {"error": "it has not run"}
    return None if {"error", NOT_HERE} & known.keys() else known


def plot(results: Mapping[str, Result], path: Path) -> None:
    """Milliseconds a step and a person by the number of persons; ImportError without matplotlib."""
    timed = {stage: each["persons"] for stage, each in results.items() if "persons" in each}
    if not timed:
        return
    figure = new_figure()
    panel = figure.subplots()
    for stage, persons in timed.items():
        values = [each["step_ms_a_person"] for each in persons.values()]
        panel.loglog([int(count) for count in persons], values, "o-", label=stage)
    panel.set_xlabel("persons in the image")
    panel.set_ylabel("milliseconds a step and a person")
    panel.legend()
    save_figure(figure, path)


def _wrong(result: Any) -> bool:
    """Whether anything in it does not hold."""
    if not isinstance(result, dict):
        return False
    return result.get("holds") is False or any(_wrong(each) for each in result.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the stages; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, in this process"
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--stage", help="only this one, printed as JSON")
    options = parser.parse_args(arguments)
    day = Day(options.out, options.device, options.quick)
    if options.stage:
        print(json.dumps(_take(day, options.stage)))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for stage, result in take_all(day, options.minutes):
        results[stage] = result
        said = next(
            (result[key] for key in ("error", NOT_HERE, "left_out") if key in result), "done"
        )
        print(f"{stage}: {'WRONG' if _wrong(result) else said}", flush=True)
        write_json(options.out / "gpu_day.json", results)
    try:
        plot(results, options.out / "gpu_day.png")
    except ImportError as error:
        print(error)
    return int(any(_wrong(result) or "error" in result for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())

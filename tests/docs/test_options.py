"""Options that pages name in their text are those of commands, scripts and configurations."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import pytest
from helpers.page_blocks import ROOT, pages

from dualhmr import cli
from dualhmr.bundle import ScheduleDefaults
from dualhmr_training.presets import PRESETS

PAGES = pages()
OF_OTHER_PROGRAMS = {
    "--nproc-per-node": "torchrun",
    "--system-site-packages": "venv",
    "--write_coco_json": "OpenPose",
    "--write_json": "OpenPose",
}
EXAMPLES = ("--field", "--population...")
"""What stands for any field, or for any of a group."""


def of_commands() -> dict[str, set[str]]:
    """Options by the subcommand of `dualhmr`."""
    found = {}
    for command in cli._commands():
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        found[command.NAME] = {*parser._option_string_actions}
    return found


def of_scripts() -> set[str]:
    """Whatever stands in a source file as an option."""
    texts = (
        path.read_text(encoding="utf-8")
        for root in ("benchmarks", "scripts", "training", "export", "examples")
        for path in sorted((ROOT / root).rglob("*.py"))
    )
    return {option for text in texts for option in re.findall(r'"(--[\w-]+)"', text)}


def options_of(value: Any, name: str = "-") -> Iterator[str]:
    """`--field` and `--group.field` of a configuration."""
    for key, part in value.items() if isinstance(value, dict) else ():
        inner = f"--{key}" if name == "-" else f"{name}.{key}"
        yield inner
        yield from options_of(part, inner)


COMMANDS = of_commands()
FIELDS = {option for preset in PRESETS.values() for option in options_of(asdict(preset()))}
FIELDS |= {f"--schedule.{field.name}" for field in fields(ScheduleDefaults)}
KNOWN = {*EXAMPLES, *OF_OTHER_PROGRAMS, *FIELDS, *of_scripts()}.union(*COMMANDS.values())


def spans(page: str) -> list[str]:
    """Code within the lines of a page."""
    text = re.sub(
        r"^ *```.*?^ *```", "", PAGES[page].read_text(encoding="utf-8"), flags=re.S | re.M
    )
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page: str) -> None:
    unknown = []
    for span in spans(page):
        subcommand = re.match(r"dualhmr (\w+)", span)
        known = KNOWN
        if subcommand:
            assert subcommand[1] in COMMANDS, span
            known = COMMANDS[subcommand[1]] | (FIELDS if subcommand[1] == "train" else set())
        unknown += [o for o in re.findall(r"(?<![\w-])--[a-z][\w.-]*", span) if o not in known]
    assert unknown == []


def test_options_of_other_programs_are_still_named() -> None:
    text = "".join(span for page in PAGES for span in spans(page))
    assert [option for option in (*OF_OTHER_PROGRAMS, *EXAMPLES) if option not in text] == []

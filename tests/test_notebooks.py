"""The notebooks in examples/notebooks run, and what is stored in them is of their own code."""

import copy

import pytest
from nbformat import NotebookNode
from nbformat.validator import validate
from scripts.notebooks import FOLDER, execute, problems, read_notebook
from test_docs import LINK

NOTEBOOKS = {path.stem: read_notebook(path) for path in sorted(FOLDER.glob("*.ipynb"))}
SMALL = {
    "photo_to_body": {"STEPS": 3},
    "train_a_pair": {"STEPS": 1, "BATCH": 4, "POSES": 300, "PEOPLE": 2},
}
"""Parameters with which a notebook takes seconds."""
LARGEST_BYTES = 1_650_000


def test_all_notebooks_have_small_parameters() -> None:
    assert NOTEBOOKS.keys() == SMALL.keys()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_of_the_code(name: str) -> None:
    notebook = NOTEBOOKS[name]
    validate(notebook)
    assert problems(notebook) == []
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST_BYTES
    kinds = {kind for each in outputs_of(notebook) for kind in each.get("data", {})}
    assert kinds >= {"image/jpeg", "image/png", "text/markdown"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_says_first_how_to_run_it(name: str) -> None:
    first = NOTEBOOKS[name].cells[0]
    assert first.cell_type == "markdown"
    assert 'pip install "dualhmr[' in first.source
    assert f"jupyter lab {name}.ipynb" in first.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_links_lead_somewhere(name: str) -> None:
    texts = [cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"]
    links = LINK.findall("\n".join(texts))
    assert links
    assert not [link for link in links if not (FOLDER / link).exists()]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str) -> None:
    made = execute(NOTEBOOKS[name], SMALL[name])
    stored, small = (kinds_of_outputs(each) for each in (NOTEBOOKS[name], made))
    assert small == stored


def test_what_was_not_executed_as_it_stands_is_a_problem() -> None:
    good = NOTEBOOKS["photo_to_body"]
    for change, problem in (
        (lambda cells: cells[2].update(source=cells[2].source + "\n# edited"), "has changed"),
        (lambda cells: cells[2].update(execution_count=7), "in order"),
        (lambda cells: cells[2].outputs.append(stream("stderr", "a warning")), "a warning"),
        (lambda cells: cells[2].outputs.append(stream("stdout", "/home/me/x")), "shows /home/"),
    ):
        changed = copy.deepcopy(good)
        change([cell for cell in changed.cells if cell.cell_type == "code"])
        assert problem in "; ".join(problems(changed))


def test_a_parameter_that_no_cell_sets_is_refused() -> None:
    with pytest.raises(ValueError, match="'parameters' sets STEP to"):
        execute(NOTEBOOKS["photo_to_body"], {"STEP": 3})


def stream(name: str, text: str) -> NotebookNode:
    return NotebookNode(output_type="stream", name=name, text=text)


def outputs_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [each for cell in notebook.cells for each in cell.get("outputs", ())]


def kinds_of_outputs(notebook: NotebookNode) -> list[list[list[str]]]:
    """Of every cell what it shows, but for progress bars: text, or kinds of data."""
    return [
        [
            sorted(each.get("data", {"text": 0}))
            for each in cell.outputs
            if each.get("name") != "stderr"
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]

"""The IPython extension: in a live kernel, an error of workbench is its message; its traceback is folded."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient


def test_an_error_is_one_line_with_a_hint_and_a_folded_traceback():
    cells = [
        "%load_ext workbench\nimport workbench as wb",
        "wb.load('us-tec')",
        "1 / 0",
        "%tb",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=60).execute()
    folded, error = notebook.cells[1].outputs
    assert folded["data"]["text/html"].startswith("<details><summary>traceback</summary>")
    assert "sources.py" in folded["data"]["text/html"]
    assert error["ename"] == "UnknownNameError"
    text = "\n".join(error["traceback"])
    assert text.splitlines()[0] == "UnknownNameError: unknown source 'us-tec'"
    assert "did you mean 'us-tech'" in text
    assert "Traceback" not in text
    (plain,) = notebook.cells[2].outputs
    assert plain["ename"] == "ZeroDivisionError"
    assert "Traceback" in "\n".join(plain["traceback"])

"""skexplain report: a page from a data set or a saved model, and one sentence for what is wrong."""

import os

import pytest
from sklearn.ensemble import RandomForestClassifier
from typer.testing import CliRunner

from skexplain import _command, _report_command  # noqa: F401  the last adds its command

pytest.importorskip("jinja2")


def run(*args):
    return CliRunner().invoke(_command.app, ["report", *map(str, args)])


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_command, "RandomForestClassifier", lambda: RandomForestClassifier(5, max_depth=4))


def test_a_page_on_rows_that_were_held_out():
    result = run("iris", "--model", "forest", "--out", "pages")
    assert result.exit_code == 0, result.output
    path = os.path.join("pages", "iris_report.html")
    assert result.stdout.strip() == path
    assert os.listdir("pages") == ["iris_report.html"]
    with open(path, encoding="utf-8") as page:
        text = page.read()
    assert "<h1>iris: what forest looks at</h1>" in text
    assert "forest: these rows are held out, as the caller says." in text
    assert "38 rows of 4 columns" in text
    assert "parts of the training rows" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing.csv", "--target", "y"], "'nothing.csv' is neither a file nor one of the data sets"),
        (["iris", "--model", "forest", "--trust", "a.B"], "--trust is for saved models"),
        (["iris", "--model", "none.keras"], "none.keras"),
        (["iris", "--model", "forest", "--attribution", "igrad"], "Unknown attribution 'igrad'"),
    ],
)
def test_bad_input_is_one_sentence(args, message):
    result = run(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not [name for name in os.listdir() if name.endswith(".html")]


def test_a_path_that_is_a_folder():
    os.mkdir("iris_report.html")
    result = run("iris", "--model", "forest")
    assert result.exit_code == 2
    assert "is a folder" in result.stderr

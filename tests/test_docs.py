"""What the pages and the README say is what happens: every example is run and its output compared."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import re
from pathlib import Path

import pytest

import skexplain

ROOT = Path(__file__).parent.parent
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.rst") if not {"_build", "generated", "auto_examples"} & {*p.parts})
#: Text of a page that tells which package its examples need.
NEEDS = {
    "skexplain.torch": ("torch", "skorch"),
    "import torch": ("torch",),
    "skexplain.keras": ("keras",),
    "import keras": ("keras",),
    "from tensorflow": ("tensorflow",),
    "import shap": ("shap",),
    "to_frame": ("pandas",),
    "as_frame": ("pandas",),
    ".plot": ("matplotlib",),
}
DECIMAL = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="an installed package comes without its docs"),
    # Keras 3.15 on NumPy 2.4
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


class Rounded(doctest.OutputChecker):
    """Trained networks differ a little between processors: decimal numbers may be off by a little, and lines of a table
    that is sorted by them may change places."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        want, got = _sorted(want), _sorted(got)
        expected, found = DECIMAL.findall(want), DECIMAL.findall(got)
        if len(expected) != len(found) or not all(map(_close, expected, found)):
            return False
        return super().check_output(DECIMAL.sub("#", want), DECIMAL.sub("#", got), optionflags)


def _sorted(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.replace(doctest.BLANKLINE_MARKER, "").splitlines()]
    return "\n".join(sorted(line for line in lines if line))


def _close(want: str, got: str) -> bool:
    """Within 15 %, or 5 hundredths, or 2 in the last digit."""
    digits = len(want.split("e")[0].partition(".")[2])
    return abs(float(want) - float(got)) <= max(2.5 * 10.0**-digits, 0.05, 0.15 * abs(float(want)))


def _skip_if_missing(text: str) -> None:
    for words, packages in NEEDS.items():
        missing = [p for p in packages if importlib.util.find_spec(p) is None]
        if words in text and missing:
            pytest.skip(f"{missing[0]} is not installed")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    _skip_if_missing(text)
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, page.name, str(page), 0)
    report = io.StringIO()
    result = doctest.DocTestRunner(Rounded(), optionflags=flags).run(test, out=report.write)
    assert not result.failed, report.getvalue()


def _readme_examples() -> list[tuple[str, str]]:
    """Python blocks of the README, each with the output block that follows it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text, re.DOTALL)


@pytest.mark.parametrize("k", range(len(_readme_examples())))
def test_readme_example(k):
    code, want = _readme_examples()[k]
    _skip_if_missing(code)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert Rounded().check_output(want, shown.getvalue(), doctest.NORMALIZE_WHITESPACE), shown.getvalue()


def test_wrong_number_is_noticed():
    assert Rounded().check_output("share 0.21 of 3\n", "share 0.2149 of 3\n", 0)
    assert not Rounded().check_output("share 0.21 of 3\n", "share 0.31 of 3\n", 0)
    assert not Rounded().check_output("share 0.21 of 3\n", "share 0.21 of 4\n", 0)


def test_reference_lists_every_public_name():
    listed = (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf-8")
    for module in (skexplain, skexplain.attributions, skexplain.datasets, skexplain.metrics):
        short = module.__name__.removeprefix("skexplain").lstrip(".")
        for name in module.__all__:
            dotted = f"{short}.{name}" if short else name
            assert re.search(rf"\s{re.escape(dotted)}$", listed, re.MULTILINE), f"{dotted} is not in docs/api/index.rst"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGES.md"])
def test_links_into_the_repository_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), f"{page} links to {target}, which does not exist"

import io
import sys

from skexplain.attributions import _progress
from skexplain.attributions._progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(_progress, "DELAY", 0)
    with progress(10, "counting") as advance:
        for _ in range(10):
            advance(1)
    return stream.getvalue()


def test_bar_on_a_terminal(monkeypatch):
    assert "counting" in run(monkeypatch, Terminal())


def test_nothing_elsewhere(monkeypatch):
    assert run(monkeypatch, io.StringIO()) == ""


def test_nothing_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert run(monkeypatch, Terminal()) == ""

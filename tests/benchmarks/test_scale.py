"""The series run, their growth is measured, and each part of the results is written where it belongs."""

import sys
import time

import pytest

from benchmarks import _table, scale


def test_a_series(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "SERIES", scale.SERIES | {"rows": ((5, 10), {"columns": 3, "background": 4})})
    seconds = scale.series("saliency", "rows", time.perf_counter)
    assert list(seconds) == [5, 10]
    times = {what: dict.fromkeys(scale.STRATEGIES, seconds) for what in scale.SERIES}
    scale.draw(times, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 1000
    assert "| saliency | " in "\n".join(scale.table(times))


def test_a_size_that_would_take_too_long_is_not_run(monkeypatch):
    monkeypatch.setattr(scale, "LONGEST", 0.0)
    monkeypatch.setattr(scale, "SERIES", {"rows": ((5, 10), {"columns": 3, "background": 4})})
    assert list(scale.series("saliency", "rows", time.perf_counter)) == [5]
    assert scale.expected({10: 1.0, 100: 100.0}, 1000) == pytest.approx(10_000)
    assert scale.expected({10: 1.0}, 100) == pytest.approx(10)


def test_exponent_by_hand():
    assert scale.exponent({10: 0.001, 100: 1.0, 1000: 10.0, 10000: 100.0}) == pytest.approx(1)
    assert scale.exponent({10: 1.0, 100: 100.0}) == pytest.approx(2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_this_process(tmp_path):
    scale.normal(40, scale.COLUMNS).tofile(tmp_path / "rows")
    before, most = scale.memory(tmp_path / "rows", 40, "saliency")
    assert 0 < before <= most + 50


def test_sections_of_the_results(tmp_path):
    path = tmp_path / "results.md"
    _table.write(path, "cases", "one")
    _table.write(path, "scale", "two")
    _table.write(path, "cases", "three")
    marked = "<!-- cases --> three <!-- end of cases --> <!-- scale --> two <!-- end of scale -->"
    assert path.read_text().split() == marked.split()

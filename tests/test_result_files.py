"""Results as files: what goes in comes out, what is not such a file is one sentence, and nothing in it is run."""

import io
import json
import os
import pickle
import sys
import zipfile
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sklearn.metrics import make_scorer

import skexplain
from skexplain import Explanation, Importances
from skexplain.attributions import LRP, ExpectedGradients, Permutation

V = np.array([0.5, 1.5, 0.0])
NAMES = ("a", "<b>", "c")


def importances(**changed):
    parts = {
        "names": NAMES,
        "values": V,
        "signed": -V,
        "error": np.array([0.1, np.nan, 0.0]),
        "strategy": LRP(low=[0.0, -1.0, 2.0]),
        "output": "margin",
        "target": "predicted",
        "n_rows": 9,
        "random_state": 2**40,
        "per_class": {"yes": V, np.int64(3): 2 * V, (1, None): V},
        "gap": np.float32(1e-7),
        "groups": {"<b>": ("x", "y")},
    }
    return Importances(**parts | changed)


def explanation(data=None, **changed):
    parts = {
        "values": np.arange(6.0).reshape(2, 3),
        "base_values": np.array([np.nan, 1.0]),
        "predictions": np.ones(2, dtype=np.float32),
        "data": np.ones((2, 3)) if data is None else data,
        "names": NAMES,
        "strategy": ExpectedGradients(n_samples=7),
        "output": "logit",
        "random_state": 0,
        "target": np.array(["yes", "no"], dtype=object),
        "outputs": np.array(["no", "yes"]),
        "columns": np.array([0, -1, 2]),
        "row_shape": (1, 3),
    }
    return Explanation(**parts | changed)


def equal(a, b):
    """Field by field, to the last bit and the same types."""
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert type(x) is type(y), field.name
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        elif isinstance(x, pd.DataFrame):
            pd.testing.assert_frame_equal(x, y)
        elif field.name == "strategy":
            assert repr(x) == repr(y)
        elif field.name == "per_class":
            assert list(x) == list(y)
            assert [type(k) for k in x] == [type(k) for k in y]
            np.testing.assert_array_equal(list(x.values()), list(y.values()))
        else:
            assert x == y, field.name
    return True


def there_and_back(result, path):
    result.save(path)
    return type(result).load(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "result.skx"


def test_importances(path):
    imp = importances()
    back = there_and_back(imp, path)
    assert equal(imp, back)
    assert repr(back) == repr(imp)
    assert isinstance(back.strategy, LRP)


def test_explanation(path):
    assert equal(explanation(), there_and_back(explanation(), path))
    without = explanation(target=None, outputs=None, columns=None, row_shape=None)
    assert equal(without, there_and_back(without, path))


def test_computed_results(path, blobs):
    from sklearn.neural_network import MLPClassifier

    X, y = blobs
    net = MLPClassifier((4,), solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
    imp = skexplain.importances(net, X, y, random_state=0)
    back = there_and_back(imp, path)
    assert equal(imp, back)
    again = skexplain.importances(net, X, attribution=back.strategy, random_state=back.random_state)
    np.testing.assert_array_equal(again.values, imp.values)
    exp = skexplain.explain(net, pd.DataFrame(X[:5]), target="all", random_state=0)
    assert equal(exp, there_and_back(exp, path))


def frames():
    plain = pd.DataFrame({"a": [1, 2], "b": ["x", None], 3: [1.5, np.nan]})
    rich = pd.DataFrame(
        {
            "c": pd.Categorical(["u", None], categories=["v", "u"], ordered=True),
            "n": pd.array([1, None], dtype="Int64"),
            "t": pd.to_datetime(["2020-01-01", None]),
            "o": np.array([1, "one"], dtype=object),
        },
        index=["r1", "r2"],
    )
    twice = pd.DataFrame(np.ones((2, 2)), columns=["a", "a"], index=[5, 4])
    return {"plain": plain, "rich": rich, "twice": twice}


@pytest.mark.parametrize("name", ["plain", "rich", "twice"])
def test_rows_of_frames(path, name):
    frame = frames()[name]
    pd.testing.assert_frame_equal(there_and_back(explanation(frame), path).data, frame)


@pytest.mark.parametrize("make", [csr_array, csr_matrix])
def test_sparse_rows(path, make):
    rows = make(np.array([[0, 1.0, 0], [2.0, 0, 0]]))
    back = there_and_back(explanation(rows), path).data
    assert type(back) is type(rows)
    np.testing.assert_array_equal(back.toarray(), rows.toarray())


def test_rows_that_are_lists(path):
    back = there_and_back(explanation([[1, 2, 3], [4, 5, 6]]), path)
    np.testing.assert_array_equal(back.data, [[1, 2, 3], [4, 5, 6]])


class Mine:
    """A strategy of the user's, global and not signed."""

    local = False
    signed = False

    def importances(self, network, X, y, groups, rng):
        raise AssertionError("is never run")

    def __repr__(self):
        return "Mine(cost='high')"


@pytest.mark.parametrize("strategy", [Mine(), Permutation(scoring=make_scorer(max)), Permutation(scoring=max)])
def test_strategies_with_code_are_kept_as_text(path, strategy):
    back = there_and_back(importances(strategy=strategy), path)
    assert repr(back) == repr(importances(strategy=strategy))
    assert (back.strategy.local, back.strategy.signed) == (False, strategy.signed)
    np.testing.assert_array_equal(back.interval()[0], importances(strategy=strategy).interval()[0])
    assert equal(back, there_and_back(back, path))


def test_what_is_not_data_is_named(path):
    with pytest.raises(TypeError, match=r"result\.data=<object .*cannot be saved safely, as an instance of object may"):
        explanation(np.array([[object(), 1, 2], [3, 4, 5]], dtype=object)).save(path)
    assert os.listdir(path.parent) == []


def test_the_file_is_an_npz(path):
    importances().save(path)
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["arrays/0"], V)


def test_new_file_in_place_of_the_old(path):
    path.write_text("old")
    importances().save(path)
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(OSError, match="directory"):
        importances().save(path.parent)
    with pytest.raises(FileNotFoundError):
        importances().save(path.parent / "nowhere" / "x.skx")
    assert os.listdir(path.parent) == [path.name]


# --- files that are something else


def repacked(path, change):
    """The file with other members, whose checksums are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def head(change):
    def changed(members):
        content = json.loads(members["skexplain.json"])
        change(content)
        members["skexplain.json"] = json.dumps(content).encode()

    return changed


def npy(header):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()


HUGE = npy({"shape": (10**12,), "fortran_order": False, "descr": "<f8"})


class Runs:
    """What a pickle may do to who loads it."""

    def __reduce__(self):
        return os.getcwd, ()


CODE_INSIDE = pickle.dumps(Runs()).ljust(64, b"\0")
OBJECTS = npy({"shape": (8,), "fortran_order": False, "descr": "|O"}) + CODE_INSIDE
BAD = {
    "version": (
        head(lambda c: c.update(format=2, skexplain="9.9")),
        "format 2 of skexplain 9.9, and this version reads 1",
    ),
    "no content": (lambda m: m.pop("skexplain.json"), "lacks skexplain.json"),
    "no array": (lambda m: m.pop("arrays/0.npy"), "is damaged"),
    "path": (lambda m: m.update({"../evil.npy": b""}), r"holds '\.\./evil\.npy'"),
    "absolute": (lambda m: m.update({"/etc/evil": b""}), "holds '/etc/evil'"),
    "kind": (head(lambda c: c.update(kind="explanation")), "holds 'explanation', not 'importances'"),
    "huge": (lambda m: m.update({"arrays/0.npy": HUGE}), r"claims the shape \(1000000000000,\)"),
    "pickle": (lambda m: m.update({"arrays/0.npy": OBJECTS}), "is damaged"),
    "shape": (lambda m: m.update({"arrays/0.npy": m["arrays/0.npy"].replace(b"(3,)", b"(2,)")}), "claims the shape"),
    "numbers": (head(lambda c: c["content"].update(values="three")), "is damaged"),
    "strategy": (head(lambda c: c["content"]["strategy"]["strategy"].update(name="os.system")), "os.system"),
    "parameter": (
        head(lambda c: c["content"]["strategy"]["strategy"].update(parameters={"x": 1})),
        "unexpected keyword",
    ),
    "name": (head(lambda c: c["content"].update(gap={"name": "os:system"})), "os.system is neither in custom_objects"),
    "tag": (head(lambda c: c["content"].update(gap={"reduce": []})), "is damaged"),
    "json": (lambda m: m.update({"skexplain.json": b"{"}), "is damaged"),
    "deep": (lambda m: m.update({"skexplain.json": b"[" * 10**5}), "is damaged"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files(path, name, nothing_runs):
    importances().save(path)
    change, why = BAD[name]
    repacked(path, change)
    with pytest.raises(ValueError, match=why) as caught:
        Importances.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert nothing_runs == []


def test_a_bomb_is_not_unpacked(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("skexplain.json", "w") as member:
        for _ in range(80):
            member.write(b" " * 2**20)
    with pytest.raises(ValueError, match="claims to hold 83886080; it is not read"):
        Importances.load(path)


def test_foreign_files(path, tmp_path):
    path.write_text("column,importance\n")
    with pytest.raises(ValueError, match=r"result\.skx is damaged, or not a file that skexplain wrote"):
        Importances.load(path)
    np.savez(tmp_path / "other.npz", a=V)
    with pytest.raises(ValueError, match=r"is not a file that skexplain wrote: it holds 'a\.npy'"):
        Importances.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        Importances.load(tmp_path / "nothing.skx")
    with pytest.raises(IsADirectoryError):
        Importances.load(tmp_path)
    explanation().save(path)
    with pytest.raises(ValueError, match="holds 'explanation', not 'importances'"):
        Importances.load(path)
    with pytest.raises(ValueError, match="not 'estimator'"):
        skexplain.load(path)


# --- whatever happens to the bytes

#: Events of the interpreter that code of a file would raise. Hooks stay, so this one is asleep between tests.
SEEN: list[str] | None = None
CODE = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.spawn")


def _hook(event, args):
    if SEEN is not None and event in CODE:
        SEEN.append(event)


@pytest.fixture(scope="module")
def nothing_runs():
    global SEEN
    sys.addaudithook(_hook)
    SEEN = []
    pickle.loads(pickle.dumps(Mine))
    assert SEEN == ["pickle.find_class"]  # the hook sees
    SEEN.clear()
    yield SEEN
    SEEN = None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "w.skx"
    importances(per_class={"yes": V}).save(path)
    return path.read_bytes()


def loads_or_says_why(data, path, original, seen):
    path.write_bytes(data)
    try:
        back = Importances.load(path)
    except ValueError as exc:  # either is fine
        assert str(path) in str(exc)  # noqa: PT017
        assert "\n" not in str(exc)  # noqa: PT017
    else:
        assert original is None or equal(back, original)
    assert seen == []


few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes(tmp_path, whole, nothing_runs, changes):
    """Checksums notice, or it did not matter."""
    data = bytearray(whole)
    for where, byte in changes:
        data[int(where * len(data))] = byte
    loads_or_says_why(bytes(data), tmp_path / "f.skx", importances(per_class={"yes": V}), nothing_runs)


@few
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.binary(max_size=8))
@example(0.5, 1.0, b"")
@example(0.0, 1.0, b"")
def test_truncated_and_spliced(tmp_path, whole, nothing_runs, start, stop, between):
    start, stop = sorted((int(start * len(whole)), int(stop * len(whole))))
    data = whole[:start] + between + whole[stop:]
    loads_or_says_why(data, tmp_path / "f.skx", importances(per_class={"yes": V}), nothing_runs)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=3) | st.just("os:system"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "array", "objects", "internal", "strategy", "float", "map", "frame", "scalar", "x"]
            ),
            inner,
            max_size=2,
        )
    ),
    max_leaves=6,
)


@few
@given(st.data())
def test_changed_content(tmp_path, whole, nothing_runs, data):
    """JSON with right checksums and anything at any place."""
    path = tmp_path / "f.skx"
    path.write_bytes(whole)

    def change(content):
        at = content
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = data.draw(st.sampled_from(keys))
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 3)) == 0:
                break
            at = inner
        if data.draw(st.booleans()):
            del at[key]
        else:
            at[key] = data.draw(JSON)

    repacked(path, head(change))
    loads_or_says_why(path.read_bytes(), path, None, nothing_runs)


def test_results_can_be_pickled_too():
    assert equal(importances(), pickle.loads(pickle.dumps(importances())))
    assert equal(explanation(), pickle.loads(pickle.dumps(explanation())))

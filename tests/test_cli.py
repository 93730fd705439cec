"""skexplain compare: tables as people have them, and one sentence for whatever is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from typer.testing import CliRunner

from skexplain import _command
from skexplain._tables import DATASETS, load_dataset, read_table

FOREST = ["--models", "forest", "--cv", "2"]


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_command, "RandomForestClassifier", lambda: RandomForestClassifier(5, max_depth=4))


def run(*args):
    return CliRunner().invoke(_command.app, ["compare", *map(str, args)])


def shell(*args):
    command = [sys.executable, "-m", "skexplain.cli", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def people(tmp_path):
    """200 rows with text, gaps, dates, a boolean, an id and columns that say nothing."""
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "number": np.arange(n) + 1,
            "name": [f"person {j}" for j in range(n)],
            "ab": rng.choice(["x", "y", "z"], n),
            "ab.cd": rng.choice(["x", "y", "z"], n),
            "height": rng.normal(size=n).round(3).astype(str),
            "since": pd.date_range("2020-01-01", periods=n).strftime("%d.%m.%Y"),
            "member": rng.random(n) < 0.5,
            "town": rng.choice([f"town {j}" for j in range(60)], n),
            "same": 1,
            "void": np.nan,
        }
    ).astype(object)
    target = (frame["ab"] == "x") | (frame["height"].astype(float) > 0.7)
    frame["label"] = np.where(target, "yes", "no")
    frame.loc[::40, "height"] = "?"
    frame.loc[::7, "ab"] = np.nan
    frame.loc[::9, "member"] = np.nan
    frame.loc[:2, "label"] = np.nan
    frame.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


def test_a_data_set(tmp_path):
    result = run("iris", *FOREST, "--out", tmp_path / "new" / "folder")
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.stdout
    assert "petal width (cm)" in result.stdout
    assert "Written" in result.stderr
    folder = tmp_path / "new" / "folder"
    assert sorted(f.name for f in folder.iterdir()) == ["iris_importances.csv", "iris_importances.png"]
    assert (folder / "iris_importances.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(folder / "iris_importances.csv")
    assert list(table) == ["feature", "model", "kind", "mean", "error", "rank"]
    assert len(table) == 8
    assert not result.stderr.startswith("\n")


def test_same_seed_same_table(tmp_path):
    a, b, c = (run("wine", *FOREST, "--random-state", seed).stdout for seed in (1, 1, 2))
    assert a == b != c


def test_a_csv_file_with_everything(people, tmp_path):
    result = run(people, "--target", "label", *FOREST)
    assert result.exit_code == 0, result.output
    for note in (
        "3 rows have no 'label'",
        "classification",
        "'number' only counts the rows",
        "'name' has another text in almost every row",
        "'height' has 4 values that are no numbers, such as '?'",
        "'since' holds dates",
        "different texts; the rarer ones count as one",
        "'same', 'void' never vary",
    ):
        assert note in result.stderr
    table = pd.read_csv("people_importances.csv").pivot(index="feature", columns="kind", values="mean")
    assert set(table.index) == set(pd.read_csv(people).columns) - {"label"}
    assert set(table["permutation"].nlargest(2).index) == {"ab", "height"}
    assert table["importances"][["ab", "height"]].min() > table["importances"]["ab.cd"]
    assert not table.loc[["same", "void", "name"]].to_numpy().any()


def test_dropped_columns_are_gone(people):
    result = run(people, "--target", "label", *FOREST, "--drop", "name", "--drop", "number")
    assert result.exit_code == 0
    assert not {"name", "number"} & set(pd.read_csv("people_importances.csv")["feature"])
    assert "'name'" not in result.stderr


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_load(name):
    table = load_dataset(name)
    assert len(table.X) == len(table.y) >= 150
    assert table.classification == (len(np.unique(table.y)) <= 10)
    assert table.behind("model") == "model"  # nothing to encode


def write(text):
    with open("t.csv", "w", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(tmp_path, separator):
    frame = pd.DataFrame({"a b": [1, 2, 3, 4], "c": [0.5, 0.25, 1, 2], "y": [0, 1, 0, 1]})
    frame.to_csv("t.csv", index=False, sep=separator)
    table = read_table("t.csv", "y")
    assert list(table.X.columns) == ["a b", "c"]
    assert table.X.dtypes.unique().tolist() == [np.dtype(float)]


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        ('"a,b,c";"y"', "{x};{c}", "a,b,c"),
        ("\ufeff" + '"a,b,c";"y"', "{x};{c}", "a,b,c"),
        ("\n \n\na;y", "{x};{c}", "a"),
        ("a;y", "{x},0;{c}", "a"),
        ("a, b;y", "{x};{c}", "a, b"),
        ("a,y", '"{x}",{c},', "a"),
        ("a,y", "{x},u;v|{c}", "a"),
    ],
)
def test_separator_is_the_one_that_divides_rows_as_it_divides_the_header(header, row, column):
    write("\n".join([header, *(row.format(x=j * j, c="yn"[j % 2]) for j in range(20))]))
    table = read_table("t.csv", "y")
    assert list(table.X.columns) == [column]
    assert table.X[column].tolist() == [j * j for j in range(20)]
    assert len(set(table.y)) == 2


def test_decimal_commas():
    lines = [f"{j},5;{'?' if j == 3 else f'{j},25'};1.234,{j};{j % 3};u,v;{j}e1,75".replace("e", "") for j in range(20)]
    write("\n".join(["a;b;c;d;e;y", *lines]))
    table = read_table("t.csv", "y")
    assert not table.classification
    assert table.y[1] == 11.75
    np.testing.assert_array_equal(table.X["a"], np.arange(20) + 0.5)
    np.testing.assert_array_equal(table.X["b"], np.where(np.arange(20) == 3, np.nan, np.arange(20) + 0.25))
    assert [table.X.columns[j] for j in table.texts] == ["c", "e"]
    assert "'a', 'b', 'y' are read with decimal commas." in table.notes
    assert (
        "'c' is read as text because of values such as '1.234,0'; write plain digits if it is a number." in table.notes
    )


def test_adorned_numbers_are_text_and_this_is_said():
    write("a,b,c,y\n" + "".join(f'{j}%,"{j},234",{"uvw"[j % 3]},{j % 2}\n' for j in range(20)))
    table = read_table("t.csv", "y")
    assert table.texts == [0, 1, 2]
    said = [note for note in table.notes if "read as text" in note]
    assert [note.split()[0] for note in said] == ["'a'", "'b'"]
    assert "'0%'" in said[0]
    assert "'0,234'" in said[1]


@pytest.mark.parametrize("values", [(10**24, 2), (-1, 2**64 - 1), (1, 2**64 - 1)])
def test_integers_of_any_length(values):
    write("a,y\n" + "".join(f"{values[j % 2]},{values[j // 2 % 2]}\n" for j in range(20)))
    table = read_table("t.csv", "y")
    assert set(table.X["a"]) == {float(v) for v in values}
    assert set(table.y.astype(str)) == {str(v) for v in values}
    assert not [note for note in table.notes if "'a'" in note]


@pytest.mark.parametrize(
    ("values", "classification", "kind"),
    [
        (["a", "b"] * 10, True, "U"),
        ([True, False] * 10, True, "U"),
        ([0, 1] * 10, True, "i"),
        ([1.0, 2.0, None, None] * 5, True, "i"),
        ([1, 2, 3, 4] * 5, True, "i"),
        (range(20), False, "f"),
        ([0.5, 1.5] * 10, False, "f"),
    ],
)
def test_task_is_seen_from_the_target(values, classification, kind):
    pd.DataFrame({"x": np.arange(20) ** 2, "y": list(values)}).to_csv("t.csv", index=False)
    table = read_table("t.csv", "y")
    assert table.classification is classification
    assert table.y.dtype.kind == kind
    assert any(("classification" if classification else "regression") in note for note in table.notes)


def test_task_can_be_chosen():
    pd.DataFrame({"x": np.arange(20.0), "y": [1, 2, 3, 4] * 5}).to_csv("t.csv", index=False)
    table = read_table("t.csv", "y", task="regression")
    assert not table.classification
    assert table.notes == []
    assert run("t.csv", "--target", "y", "--task", "regression", *FOREST).exit_code == 0


GOOD = "a,b,y\n" + "".join(f"{j % 7},{j * j},{'no' if j % 2 else 'yes'}\n" for j in range(20))


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        (None, ["nothing.csv"], "'nothing.csv' is neither a file nor one of the data sets breast_cancer"),
        (None, ["."], "folder"),
        (GOOD, [], "--target is missing"),
        (
            GOOD,
            ["--target", "Y"],
            "--target='Y' is not a column of t.csv. Did you mean 'y'? Columns are 'a', 'b', 'y'.",
        ),
        (GOOD, ["--target", "y", "--drop", "q"], "--drop='q'"),
        (GOOD, ["--target", "y", "--drop", "y"], "also the target"),
        (GOOD, ["--target", "y", "--drop", "a", "--drop", "b"], "no column besides"),
        ("", ["--target", "y"], "is empty"),
        ("a,y\n", ["--target", "y"], "no rows"),
        ("a,y\n1,\n2,\n", ["--target", "y"], "no row with a value in 'y'"),
        ("a,b,y\n1,2\n1,2,3,4,5\n", ["--target", "y"], "cannot be read as a table: Expected 3 fields in line 3, saw 5"),
        ("a,y\n" + "0.12,1,1\n0.25,2,0\n" * 9, ["--target", "y"], "more values in line 2 than names in the header"),
        ("\na,y\n\n0.12,1,1\n0.25,2\n", ["--target", "y"], "more values in line 4 than names in the header"),
        (b"a,y\n\xff\xfe,1\n", ["--target", "y"], "UTF-8"),
        (GOOD, ["--target", "y", "--task", "regression"], "contains 'yes'; use --task classification"),
        (GOOD, ["--target", "b", "--task", "classification"], "20 different values in 20 rows"),
        ("a,y\n1,u\n2,v\n3,w\n", ["--target", "y"], "name another --target"),
        ("a,y\n1,u\n2,u\n3,u\n", ["--target", "y"], "'u' in every row"),
        ("a,y\n1,1\n2,0\ninf,0\n2,1\n", ["--target", "y"], "'a' contains infinity in 1 rows"),
        ("a,y\n1,1.5\n2,inf\n", ["--target", "y"], "'y' contains infinity"),
        (GOOD + "1,1,rare\n", ["--target", "y"], "class 'rare' has 1"),
        (None, ["iris", "--target", "y"], "--target is for files"),
        (None, ["iris", "--models", "forest,xgb"], "contains 'xgb'; choose from keras, torch, forest"),
        (None, ["iris", "--models", ","], "names no model"),
        (None, ["iris", "--cv", "1"], "cv=1"),
        (None, ["iris", "--cv", "many"], "--cv='many'; pass a whole number"),
        (None, ["iris", "--random-state", "1.5"], "--random-state='1.5'; pass a whole number"),
        (None, ["iris", "--random-state", "-1"], "random_state=-1 must be between 0 and"),
        (GOOD, ["--target", "y", "--scoring", "r2"], "scoring='r2' cannot score a classifier"),
        (GOOD, ["--target", "b", "--scoring", "accuracy"], "scoring='accuracy' cannot score a regressor"),
        (None, ["iris", "--cv", "500"], "cv=500"),
        (None, ["iris", "--scoring", "beauty"], "'beauty'"),
        (None, ["t.csv", "--task", "clustering"], "--task='clustering'; choose classification or regression"),
        (None, ["iris", "--out", "/dev/null/x"], "--out='/dev/null/x'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(text, args, message):
    if isinstance(text, str):
        write(text)
    elif text is not None:
        with open("t.csv", "wb") as file:
            file.write(text)
    source = ["t.csv"] if text is not None else []
    # the last one counts, so that cases can override the small default
    result = run(*source, *FOREST, *args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr
    *notes, sentence = result.stderr.splitlines()
    assert sentence.startswith("skexplain: ")
    assert not [note for note in notes if not note.startswith("The target")]
    assert not [f for f in os.listdir() if f != "t.csv"]


def test_missing_frameworks_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "skexplain.torch", None)
    monkeypatch.setitem(sys.modules, "skexplain.keras", None)
    result = run("iris", "--cv", 2)
    assert result.exit_code == 0
    assert "Left out keras" in result.stderr
    assert "Left out torch" in result.stderr
    asked = run("iris", "--models", "torch,forest", "--cv", 2)
    assert asked.exit_code == 2
    assert asked.stdout == ""


def test_without_matplotlib_there_is_a_table_and_no_picture(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("iris", *FOREST)
    assert result.exit_code == 0
    assert "pip install 'skexplain[plot]'" in result.stderr
    assert os.listdir() == ["iris_importances.csv"]


def test_interruption(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_command, "compare", interrupted)
    result = run("iris", *FOREST)
    assert result.exit_code == 130
    assert "Interrupted: nothing was written." in result.stderr
    assert os.listdir() == []


def test_interrupted_after_a_fold_gives_what_is_done(monkeypatch):
    fits = []

    class Stops(RandomForestClassifier):
        def fit(self, X, y):
            fits.append(len(X))
            if len(fits) > 2:
                raise KeyboardInterrupt
            return super().fit(X, y)

    monkeypatch.setattr(_command, "RandomForestClassifier", lambda: Stops(5))
    result = run("iris", "--models", "forest", "--cv", 3)
    assert result.exit_code == 130
    assert "2 folds" in result.stdout.splitlines()[0]
    assert "Interrupted: 2 of 3 folds are done." in result.stderr
    assert len(pd.read_csv("iris_importances.csv")) == 8


def test_json(tmp_path):
    result = run("iris", *FOREST, "--json")
    found = json.loads(result.stdout)
    assert found["models"] == ["forest"]
    assert len(found["importances"]) == 8
    assert len(found["scores"]) == 2
    assert found["correlations"] == []
    table = pd.read_csv("iris_importances.csv")
    assert [line["mean"] for line in found["importances"]] == pytest.approx(table["mean"])


PARQUET = pd.DataFrame(
    {
        "whole": pd.array([1, None, 3, 4] * 5, dtype="Int64"),
        "kind": pd.Categorical(["a", "b", "a", None] * 5),
        "flag": pd.array([True, False, None, True] * 5, dtype="boolean"),
        "day": pd.date_range("2020-01-01", periods=20),
        "y": ["yes", "no"] * 10,
    }
)


def test_parquet_gives_what_csv_gives():
    pytest.importorskip("pyarrow")
    PARQUET.to_parquet("t.parquet")
    PARQUET.to_csv("t.csv", index=False)
    binary, text = read_table("t.parquet", "y"), read_table("t.csv", "y")
    pd.testing.assert_frame_equal(binary.X, text.X)
    assert binary.y.tolist() == text.y.tolist()
    assert binary.texts == text.texts == [1]
    PARQUET.set_index("whole").to_parquet("i.pq")
    pd.testing.assert_frame_equal(read_table("i.pq", "y").X, text.X)


def test_parquet_that_cannot_be_read(monkeypatch):
    pytest.importorskip("pyarrow")
    write("no parquet")
    os.rename("t.csv", "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet cannot be read as Parquet: "):
        read_table("t.parquet", "y")
    PARQUET.to_parquet("whole.parquet")
    with open("whole.parquet", "rb") as whole, open("t.parquet", "wb") as part:
        part.write(whole.read()[:-100])
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_table("t.parquet", "y")
    PARQUET[:0].to_parquet("t.parquet")
    with pytest.raises(ValueError, match="has columns but no rows"):
        read_table("t.parquet", "y")
    PARQUET.assign(many=[[1, 2]] * 20).to_parquet("t.parquet")
    with pytest.raises(ValueError, match=r"'many' holds values of type .*--drop 'many'"):
        read_table("t.parquet", "y")
    assert "many" not in read_table("t.parquet", "y", drop=["many"]).X
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'skexplain\[parquet\]'"):
        read_table("t.parquet", "y")


def test_nothing_is_left_half_written(monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", broken)
    result = run("iris", *FOREST)
    assert result.exit_code == 2
    assert "the disk is full" in result.stderr
    assert os.listdir() == []


def test_torch_and_forest_from_the_shell(people):
    """Importances of the file's own columns for both."""
    result = shell(
        "compare", str(people), "--target", "label", "--models", "torch,forest", "--cv", "2", "--drop", "name"
    )
    assert result.returncode == 0, result.stderr
    assert "torch ~ forest, own" in result.stdout
    table = pd.read_csv("people_importances.csv")
    assert table.groupby(["model", "kind"]).size().eq(9).all()
    assert len(table) == 36


def test_keras_from_the_shell():
    result = shell("compare", "iris", "--models", "keras", "--cv", "2")
    assert result.returncode == 0, result.stderr
    assert "keras" in result.stdout
    assert result.stderr.splitlines() == ["Written: iris_importances.png, iris_importances.csv"]  # TensorFlow is silent


def test_bad_input_from_the_shell():
    result = shell("compare", "no_such_thing")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert shell("--help").returncode == 0


def test_importing_the_command_imports_no_framework():
    code = (
        "import sys, skexplain.cli, skexplain._command;"
        "print([m for m in ('torch', 'tensorflow', 'keras', 'skorch', 'matplotlib', 'shap') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["typer", "rich", "pandas"])
def test_missing_extra_names_the_remedy(package):
    code = f"import sys; sys.modules['{package}'] = None; import skexplain.cli; skexplain.cli.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert package in result.stderr
    assert "pip install 'skexplain[cli]'" in result.stderr
    assert "Traceback" not in result.stderr

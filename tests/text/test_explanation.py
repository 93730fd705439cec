"""The results, on values that a reader can add up by hand."""

import numpy as np
import pytest

import skexplain
from skexplain.attributions import IntegratedGradients
from skexplain.text import TextExplanation, WordImportances
from skexplain.text._texts import Pieces, is_texts


def pieces(text, tokens, word, words):
    """Tokens stand in the text as they are, but for the mark of what goes on."""
    spans, at = [], 0
    for token in tokens:
        at = text.lower().index(token.removeprefix("##"), at)
        spans.append((at, at + len(token.removeprefix("##"))))
        at = spans[-1][1]
    return Pieces(text, tuple(tokens), np.array(spans), np.array(word), tuple(words))


TEXTS = (
    pieces("Un-usual, good", ["un", "##-", "##usual", "good"], [0, 0, 0, 1], ["un-usual", "good"]),
    pieces("Good & <b>", ["good", "&", "<b>"], [0, 1, 2], ["good", "&", "<b>"]),
)


@pytest.fixture
def explained():
    return TextExplanation(
        pieces=TEXTS,
        values=(np.array([1.0, -0.5, 0.25, 3.0]), np.array([-1.0, 0.0, 0.5])),
        base_values=np.zeros(2),
        predictions=np.array([3.75, -0.5]),
        strategy=IntegratedGradients(),
        output="margin",
        random_state=0,
        error=(np.array([0.3, 0.0, 0.4, 0.1]), np.zeros(3)),
        target=np.array(["pos", "neg"]),
        outputs=np.array(["neg", "pos"]),
    )


def test_words_are_signed_sums_spelled_as_in_the_text(explained):
    words = explained.words()
    assert words.tokens == (("Un-usual", "good"), ("Good", "&", "<b>"))
    np.testing.assert_allclose(words.values[0], [0.75, 3.0])
    np.testing.assert_allclose(words.error[0], [0.5, 0.1])
    assert words.words() is words
    assert explained.tokens[0] == ("un", "##-", "##usual", "good")


def test_importances_average_over_occurrences(explained):
    words = explained.to_importances()
    assert words.names == ("&", "<b>", "good", "un-usual")
    np.testing.assert_allclose(words.values, [0, 0.5, 2, 0.75])
    np.testing.assert_allclose(words.signed, [0, 0.5, 1, 0.75])
    assert words.counts.tolist() == [1, 1, 2, 1]
    # two values, 3 and 1: standard deviation sqrt(2), over sqrt(2) of them
    np.testing.assert_allclose(words.error, [np.nan, np.nan, 1, np.nan])
    np.testing.assert_allclose(words.per_class["neg"], [0, 0.5, 1, 0])
    np.testing.assert_allclose(words.per_class["pos"], [0, 0, 3, 0.75])
    frame = words.to_frame()
    assert frame["word"].tolist()[0] == "good"
    assert frame["count"].tolist()[0] == 2
    np.testing.assert_allclose(explained.words().to_importances().values, words.values)


def test_frame_is_tidy(explained):
    frame = explained.to_frame()
    assert list(frame.columns) == ["text", "position", "token", "output", "value", "error"]
    assert frame["text"].tolist() == [0] * 4 + [1] * 3
    assert frame["position"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert frame["output"].tolist() == ["pos"] * 4 + ["neg"] * 3
    assert "word" in explained.words().to_frame()


def test_some_of_the_texts(explained):
    assert len(explained) == 2
    one = explained[-1]
    assert one.texts == ("Good & <b>",)
    assert one.predictions.tolist() == [-0.5]
    assert len(explained[:0]) == 0
    assert explained[:0].to_frame().empty
    with pytest.raises(IndexError, match="2 texts"):
        explained[2]


def test_all_outputs(explained):
    from dataclasses import replace

    both = replace(
        explained,
        values=tuple(np.stack([-v, v], axis=1) for v in explained.values),
        error=None,
        target=None,
        predictions=np.stack([-explained.predictions, explained.predictions], axis=1),
    )
    assert both.to_frame()["value"].tolist()[:2] == [-1.0, 1.0]
    np.testing.assert_allclose(both.to_importances().values, explained.to_importances().values)
    assert "good" in both.plot.text(output="neg")
    assert "margin of pos: 3.75" in both.plot.text()  # the largest
    with pytest.raises(ValueError, match="output='x' does not exist"):
        both.plot.text(output="x")


def test_results_are_saved(explained, tmp_path):
    explained.save(tmp_path / "texts")
    loaded = TextExplanation.load(tmp_path / "texts")
    assert loaded.tokens == explained.tokens
    np.testing.assert_array_equal(loaded.to_importances().values, explained.to_importances().values)
    explained.to_importances().save(tmp_path / "words")
    words = WordImportances.load(tmp_path / "words")
    assert words.to_frame().equals(explained.to_importances().to_frame())
    with pytest.raises(ValueError, match="words"):
        TextExplanation.load(tmp_path / "words")


def test_repr_lists_words(explained):
    assert "TextExplanation of 2 texts by IntegratedGradients()" in repr(explained)
    assert "good          2" in repr(explained)
    assert "WordImportances" in repr(explained.to_importances())


def test_markup_is_escaped_and_whole(explained):
    markup = explained.plot.text()
    assert "&lt;b&gt;" in markup
    assert "<b>" not in markup
    assert "&amp;" in markup
    # what stands between the words is not lost
    assert ">Un-usual</span>, <span" in markup
    assert markup == markup._repr_html_()
    assert markup in explained._repr_html_()
    assert "##usual" in explained.plot.text(words=False)


def test_colours_say_sign_and_size(explained):
    markup = explained.plot.text()
    strongest = markup.split('title="+3"')[-1].split(">")[0]
    assert "background:#d96e19" in strongest  # nine tenths of orange
    assert 'title="-1"' in markup
    assert 'title="+0" style="background:#ffffff;color:#000' in markup


def test_markup_is_written_as_a_page(explained, tmp_path):
    markup = explained.plot.text(path=tmp_path / "texts.html")
    page = (tmp_path / "texts.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert markup in page
    assert [p.name for p in tmp_path.iterdir()] == ["texts.html"]


def test_heat_map_has_a_row_a_text(explained, tmp_path):
    ax = explained.plot.heat_map(path=tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5000
    grid = ax.images[0].get_array()
    assert grid.shape == (2, 3)
    assert grid[0, 1] == 3.0
    assert grid.mask[0, 2]
    assert [t.get_text() for t in ax.texts] == ["Un-usual", "good", "Good", "&", "<b>"]
    assert ax.images[0].get_clim() == (-3, 3)


@pytest.mark.parametrize(
    ("X", "texts"),
    [
        (["a", "b"], True),
        (np.array(["a", "b"]), True),
        (np.array(["a", "b"], dtype=object), True),
        (["a", None], True),
        ("a", False),
        ([["a"], ["b"]], False),
        (np.array([["a"], ["b"]]), False),
        ([1.0, 2.0], False),
        ([], False),
        ({"a": ["b"]}, False),
    ],
)
def test_texts_are_told_from_columns(X, texts):
    assert is_texts(X) is texts


def test_series_are_texts_and_frames_are_not():
    pd = pytest.importorskip("pandas")
    assert is_texts(pd.Series(["a", "b"]))
    assert not is_texts(pd.Series([1, 2]))
    assert not is_texts(pd.DataFrame({"a": ["b"]}))


def test_networks_without_a_tokenizer_are_refused():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    texts, y = ["good film", "bad film", "good plot", "bad plot"], [1, 0, 1, 0]
    net = make_pipeline(TfidfVectorizer(), MLPClassifier((3,), max_iter=2000, random_state=0)).fit(texts, y)
    with pytest.raises(skexplain.UnsupportedModelError, match="TfidfVectorizer"):
        skexplain.explain(net, texts)
    with pytest.raises(ValueError, match=r"X\[1\] is None"):
        skexplain.explain(net, ["good", None])
    with pytest.raises(ValueError, match="feature_names"):
        skexplain.importances(net, texts, feature_names=["a"])

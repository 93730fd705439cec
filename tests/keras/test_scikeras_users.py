"""scikeras' README and documentation with only the import line changed."""

import keras
import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skexplain.keras import KerasClassifier, KerasRegressor

# Keras' own advice on input_shape=, which the README uses
pytestmark = pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`/`input_dim` argument")


@pytest.fixture(scope="module")
def classes():
    X, y = make_classification(200, 20, n_informative=10, random_state=0)
    return X.astype(np.float32), y.astype(np.int64)


def get_model(hidden_layer_dim, meta):
    # note that meta is a special argument that will be
    # handed a dict containing input metadata
    n_features_in_ = meta["n_features_in_"]
    X_shape_ = meta["X_shape_"]
    n_classes_ = meta["n_classes_"]

    model = keras.models.Sequential()
    model.add(keras.layers.Dense(n_features_in_, input_shape=X_shape_[1:]))
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Dense(hidden_layer_dim))
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Dense(n_classes_))
    model.add(keras.layers.Activation("softmax"))
    return model


def test_readme_classifier(classes):
    X, y = classes
    clf = KerasClassifier(
        get_model,
        loss="sparse_categorical_crossentropy",
        hidden_layer_dim=100,
    )

    clf.fit(X, y)
    y_proba = clf.predict_proba(X)
    assert y_proba.shape == (200, 2)
    # and what scikeras does not give
    assert clf.feature_importances_.shape == (20,)


def test_readme_grid_search(classes):
    X, y = classes
    clf = KerasClassifier(
        model=get_model,
        loss="sparse_categorical_crossentropy",
        optimizer="adam",
        hidden_layer_dim=10,
    )
    params = {
        "hidden_layer_dim": [5, 10],
        "loss": ["sparse_categorical_crossentropy"],
        "optimizer": ["adam", "sgd"],
        "optimizer__learning_rate": [0.1],
    }
    gs = GridSearchCV(clf, params, refit=False, cv=2, scoring="accuracy", error_score="raise")
    gs.fit(X, y)
    assert set(gs.best_params_) == set(params)


def test_readme_pipeline(classes):
    X, y = classes
    pipe = Pipeline(
        [
            ("scale", StandardScaler()),
            ("clf", KerasClassifier(get_model, loss="sparse_categorical_crossentropy", hidden_layer_dim=10)),
        ]
    )
    pipe.fit(X, y)
    assert pipe.predict_proba(X).shape == (200, 2)
    pipe.set_params(clf__hidden_layer_dim=5, clf__optimizer__learning_rate=0.01)
    assert pipe.fit(X, y).predict(X).shape == (200,)


def test_readme_regressor():
    X_regr, y_regr = make_regression(200, 20, n_informative=10, random_state=0)
    X_regr = X_regr.astype(np.float32)
    y_regr = y_regr.astype(np.float32) / 100

    def get_reg(hidden_layer_dim, meta):
        n_features_in_ = meta["n_features_in_"]
        X_shape_ = meta["X_shape_"]
        model = keras.models.Sequential()
        model.add(keras.layers.Dense(n_features_in_, input_shape=X_shape_[1:]))
        model.add(keras.layers.Activation("relu"))
        model.add(keras.layers.Dense(hidden_layer_dim))
        model.add(keras.layers.Activation("relu"))
        model.add(keras.layers.Dense(1))
        return model

    reg = KerasRegressor(
        model=get_reg,
        loss="mse",
        metrics=["r2_score"],
        hidden_layer_dim=100,
    )
    reg.fit(X_regr, y_regr)
    assert reg.predict(X_regr).shape == (200,)
    assert list(reg.history_) == ["loss", "r2_score"]
    assert -5 < reg.score(X_regr, y_regr) < 1


def test_quickstart_compiles_in_the_build_function(classes):
    """scikeras' documentation, "Training a model": compile_kwargs."""
    X, y = classes

    def get_clf(meta, hidden_layer_sizes, dropout, compile_kwargs):
        model = keras.Sequential()
        model.add(keras.layers.Input(shape=(meta["n_features_in_"],)))
        for hidden_layer_size in hidden_layer_sizes:
            model.add(keras.layers.Dense(hidden_layer_size, activation="relu"))
            model.add(keras.layers.Dropout(dropout))
        if meta["target_type_"] == "binary":
            n_output_units, output_activation, loss = 1, "sigmoid", "binary_crossentropy"
        elif meta["target_type_"] == "multiclass":
            n_output_units, output_activation, loss = meta["n_classes_"], "softmax", "sparse_categorical_crossentropy"
        model.add(keras.layers.Dense(n_output_units, activation=output_activation))
        model.compile(loss=loss, optimizer=compile_kwargs["optimizer"])
        return model

    clf = KerasClassifier(
        model=get_clf,
        hidden_layer_sizes=(20,),
        dropout=0.5,
        verbose=0,
        optimizer="adam",
        optimizer__learning_rate=0.02,
        epochs=15,
        random_state=0,
    )
    assert clf.fit(X, y).score(X, y) > 0.75
    assert set(clf.classes_) == {0, 1}


def test_old_name_of_model(classes):
    X, y = classes
    clf = KerasClassifier(build_fn=get_model, hidden_layer_dim=4)
    assert clf.fit(X, y).predict(X).shape == (200,)


def test_callbacks_of_the_documentation(classes):
    X, y = classes
    clf = KerasClassifier(
        get_model,
        hidden_layer_dim=4,
        epochs=20,
        callbacks=keras.callbacks.EarlyStopping,
        callbacks__monitor="loss",
        callbacks__min_delta=100.0,
        callbacks__patience=1,
    ).fit(X, y)
    assert clf.n_iter_ == 2


def test_output_of_verbose(classes, capsys):
    X, y = classes
    KerasClassifier(get_model, hidden_layer_dim=4, epochs=2).fit(X, y)
    assert capsys.readouterr().out == ""
    KerasClassifier(get_model, hidden_layer_dim=4, epochs=2, verbose=1).fit(X, y)
    assert "Epoch 2/2" in capsys.readouterr().out

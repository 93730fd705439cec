"""What both estimators share: parameters, building, training, pickling."""

from __future__ import annotations

import inspect
import random
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _clone_parametrized, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import _defaults
from .._categories import embedding_width
from .._data import TrainingData, held_out, prediction_rows, standardisation, typical_rows
from .._estimator import ExplainableMixin
from .._head import Output
from .._inputs import Inputs, codes_and_numbers, inputs_of
from .._network import Network, chunks
from ..training._watcher import Watcher
from ._default import mlp, standardise
from ._gated import ColumnGatedMLP, column_gated_mlp
from ._globals import computing_in, seeded
from ._losses import default_loss, loss_name, only_loss
from ._model import Architecture, Packed, Recipe, renewed
from ._network import ending_of, keras_network, predict_once
from ._routing import ROUTES, accepted, callback_list, compile_arguments, frozen, routed, takes, thawed
from ._sparsity import SparsityPath
from ._table import number_of_inputs, reads_table
from ._training import Rows, Schedule, train

#: What ``fit__*`` may set.
FIT_PARAMETERS = (
    "batch_size",
    "callbacks",
    "epochs",
    "initial_epoch",
    "shuffle",
    "validation_batch_size",
    "validation_data",
    "validation_freq",
    "validation_split",
    "verbose",
)


class _Resolved(NamedTuple):
    """Parameters whose default depends on whether there is a model."""

    optimizer: Any
    epochs: int
    batch_size: int
    validation_split: Any


class KerasEstimator(ExplainableMixin, BaseEstimator):
    """Base of `KerasClassifier` and `KerasRegressor`, which say what they predict."""

    _inputs: Inputs | None = None

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        go_on = self.warm_start and hasattr(self, "model_")
        data = self._training_data(X, y, sample_weight, reset=not go_on)
        if go_on:
            self._of_fitted_shape(data.X)
        resolved = self._resolved()
        fit = routed(self.get_params(deep=False), "fit")
        return self._train(data, resolved, epochs=resolved.epochs, initial=fit.get("initial_epoch", 0), go_on=go_on)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        go_on = hasattr(self, "model_")
        data = self._training_data(X, y, sample_weight, reset=not go_on)
        if go_on:
            self._of_fitted_shape(data.X)
        done = len(self.history_["loss"]) if go_on else 0
        resolved = self._resolved()._replace(validation_split=0.0)
        return self._train(data, resolved, epochs=done + 1, initial=done, go_on=go_on, keep_history=True)

    def _training_data(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> TrainingData:
        """Checked; several inputs side by side."""
        if reset:
            self._inputs = inputs_of(X)
        return self._checked_data(self._as_table(X), y, sample_weight, reset=reset)

    def _as_table(self, X: Any) -> Any:
        return X if self._inputs is None else self._inputs.table(X)

    def _train(
        self,
        data: TrainingData,
        resolved: _Resolved,
        *,
        epochs: int,
        initial: int,
        go_on: bool,
        keep_history: bool = False,
    ) -> Any:
        seed = None
        if self.random_state is not None:
            # repeated calls with one RandomState are alike, as `clone` gives every fit a copy
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(seed), computing_in(self.dtype), self._watching(go_on) as watching:
            shuffling = random.randrange(2**31)
            if not go_on:
                self._recipe = self._new_recipe(data, resolved)
                self._input_shape = data.X.shape[1:]
                self.model_ = self._new_model(data)
            rows = self._rows(data)
            params = self.get_params(deep=False)
            callbacks = [*callback_list(params), *watching]
            rows, watched, stopping = self._split(rows, data.y, resolved, shuffling)
            if any(isinstance(callback, SparsityPath) for callback in stopping):
                epochs *= len(_defaults.SPARSITIES)
            schedule = self._schedule(resolved, len(rows.X), epochs, initial, shuffling)
            for watcher in callbacks:
                if isinstance(watcher, Watcher):
                    watcher.look(data.X, data.y, getattr(self, "feature_names_in_", None))
            history = train(self.model_, rows, watched, schedule, [*callbacks, *stopping])
        before = self.history_ if keep_history and go_on else {}
        self.history_: dict[str, list[float]] = {k: before.get(k, []) + v for k, v in history.items()}
        self.n_iter_ = len(self.history_["loss"])
        self._probe = typical_rows(data.X)
        self._networks: dict[str, Network] = {}
        self._keep(data.X, self._labels(data.y))
        return self

    def _network(self, output: Output = "margin") -> Network:
        """The fitted model behind the boundary, made once for each scale."""
        check_is_fitted(self, "model_")
        if output not in self._networks:
            classes = self.classes_ if is_classifier(self) else None
            self._networks[output] = keras_network(
                self.model_,
                self._probe,
                classes=classes,
                regression=classes is None,
                output=output,
                inputs=self._inputs_of(self.model_),
            )
        return self._networks[output]

    def _outputs(self, X: Any) -> NDArray:
        check_is_fitted(self, "model_")
        rows, network = self._check_rows(X), self._network()
        # always as many rows at once, so that a row's float32 outputs do not depend on its neighbours
        fixed = 128 if keras.backend.backend() == "torch" else len(rows)
        index = np.minimum(np.arange(-(-len(rows) // fixed) * fixed), len(rows) - 1)
        return np.concatenate([network.predict(rows[index[block]]) for block in chunks(len(index), fixed)])[: len(rows)]

    def _check_rows(self, X: Any) -> NDArray:
        check_is_fitted(self, "model_")
        X = prediction_rows(self, self._as_table(X), allow_nd=not self._is_ours)
        return self._of_fitted_shape(X)

    def _of_fitted_shape(self, X: NDArray) -> NDArray:
        if X.shape[1:] != self._input_shape:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was fitted on rows of shape "
                f"{self._input_shape}."
            )
        return X

    # --- parameters

    def _route(self, kwargs: dict[str, Any]) -> None:
        """Take parameters that are not in the signature."""
        for name, value in kwargs.items():
            setattr(self, name, value)
        if kwargs:
            self._routed = sorted(kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with those that are handed on to the model, the optimizer and so on."""
        return super().get_params(deep) | {name: getattr(self, name) for name in getattr(self, "_routed", [])}

    def set_params(self, **params: Any) -> Any:
        """Set parameters; any ``model__*``, ``optimizer__*`` and so on, and parameters of the build function."""
        if "model" in params:
            self.model = params.pop("model")
        own = self._get_param_names()
        for name in [n for n in params if n not in own]:
            known = name in getattr(self, "_routed", [])
            if (
                known
                or (name.split("__")[0] in ROUTES and "__" in name)
                or ("__" not in name and takes(self._builder, name))
            ):
                self._routed = sorted({*getattr(self, "_routed", []), name})
                setattr(self, name, params.pop(name))
        return super().set_params(**params)  # type: ignore[attr-defined]

    def __sklearn_clone__(self) -> Any:
        """Losses, metrics and optimizers keep all of their arguments, of which Keras' own copies lose some.

        A model is never trained itself, so that clones may share it; copying it could lose custom layers.
        """
        shared = {"model": None} if isinstance(self.model, keras.Model) else {}
        bare: Any = object.__new__(type(self))
        bare.__dict__.update(self.__dict__ | self._frozen_parameters() | shared)
        twin = _clone_parametrized(bare)
        twin._thaw_parameters()
        if shared:
            twin.model = self.model
        return twin

    def _frozen_parameters(self) -> dict[str, Any]:
        return {name: frozen(value) for name, value in self.get_params(deep=False).items()}

    def _thaw_parameters(self) -> None:
        for name, value in self.get_params(deep=False).items():
            setattr(self, name, thawed(value))

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Also those of the bases, so that a subclass need not repeat them."""
        makers = [c.__init__ for c in cls.__mro__ if "__init__" in vars(c) and issubclass(c, KerasEstimator)]
        parameters = [p for make in makers for p in inspect.signature(make).parameters.values()]
        return sorted({p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD})

    @property
    def _builder(self) -> Any:
        """What was given as the model; None for the default."""
        given = self.model if self.model is not None else self.build_fn
        return given if given is not None else getattr(self, "_keras_build_fn", None)

    @property
    def _is_ours(self) -> bool:
        """Whether the model is one of this library's for tables."""
        return any(self._builder is build for build in (None, column_gated_mlp, mlp))

    def _resolved(self) -> _Resolved:
        default = self._is_ours
        fit = routed(self.get_params(deep=False), "fit")
        unknown = sorted(set(fit) - set(FIT_PARAMETERS))
        if unknown:
            raise TypeError(f"fit__{unknown[0]} is not a parameter of fit; valid names are {list(FIT_PARAMETERS)}.")

        def choose(name: str, ours: Any, keras_own: Any) -> Any:
            value = fit.get(name, getattr(self, name))
            return (ours if default else keras_own) if isinstance(value, str) and value == "auto" else value

        optimizer = self.optimizer
        if isinstance(optimizer, str) and optimizer == "auto":
            rate = _defaults.LEARNING_RATE
            optimizer = partial(keras.optimizers.Adam, learning_rate=rate) if default else "rmsprop"
        epochs = choose("epochs", _defaults.MAX_EPOCHS, 1)
        batch_size = choose("batch_size", _defaults.BATCH_SIZE, 32)
        return _Resolved(
            optimizer, epochs, 32 if batch_size is None else batch_size, choose("validation_split", None, 0.0)
        )

    # --- building

    def _new_recipe(self, data: TrainingData, resolved: _Resolved) -> Recipe:
        """How the model is made, from parameters as they are now."""
        params = self.get_params(deep=False) | {"optimizer": resolved.optimizer}
        if isinstance(resolved.optimizer, partial):
            params["optimizer"] = resolved.optimizer(**routed(params, "optimizer"))
            params = {k: v for k, v in params.items() if not k.startswith("optimizer__")}
        compiling = compile_arguments(params)
        builder = self._builder or column_gated_mlp
        if isinstance(builder, keras.Model):
            extra = {**routed(params, "model"), **self._bare_parameters()}
            if extra:
                raise TypeError(
                    f"model is a {type(builder).__name__}, which takes no parameter {sorted(extra)[0]!r}; pass a "
                    "function that builds it."
                )
            return Recipe(Architecture.of(builder), {}, compiling, self.dtype)
        if not callable(builder):
            raise TypeError(f"model={builder!r} is neither a keras.Model nor a function that builds one.")
        own = routed(params, "model") | self._bare_parameters()
        offered = {"meta": self._meta(data), "compile_kwargs": compiling, "params": params}
        return Recipe(builder, accepted(builder, offered, own), compiling, self.dtype)

    def _bare_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in getattr(self, "_routed", []) if "__" not in name}

    def _meta(self, data: TrainingData) -> dict[str, Any]:
        """What a build function may want to know of the data, under scikeras' names."""
        labels = self._labels(data.y)
        meta = {
            "n_features_in_": self.n_features_in_,
            "X_shape_": data.X.shape,
            "X_dtype_": data.X.dtype,
            "y_shape_": labels.shape,
            "y_dtype_": labels.dtype,
            "y_ndim_": labels.ndim,
            "n_outputs_expected_": 1,
        }
        names = getattr(self, "feature_names_in_", None)
        meta |= {} if names is None else {"feature_names_in_": names}
        return meta | self._meta_of_target() | self._meta_of_codes()

    def _meta_of_codes(self) -> dict[str, Any]:
        if self.categorical is None:
            return {}
        cardinalities = self.categories_.cardinalities
        pairs = [(n, embedding_width(n)) for n in cardinalities.values()]
        return {"cardinalities_": cardinalities, "emb_szs_": pairs, "n_cont_": self.n_features_in_ - len(pairs)}

    def _inputs_of(self, model: keras.Model) -> Inputs | None:
        """What becomes which of the model's inputs; None if it reads the table."""
        if self._inputs is None and self.categorical is not None and number_of_inputs(model) == 2:
            return codes_and_numbers(self.categories_.columns, self.n_features_in_)
        return self._inputs

    def _new_model(self, data: TrainingData) -> keras.Model:
        """Build, look at what the model ends in, choose a loss if there is none, and refuse what cannot learn."""
        given = self._builder
        model = renewed(given, self._recipe.make) if isinstance(given, keras.Model) else self._recipe.build()
        ours = self._is_ours
        reading = reads_table(model, self._inputs_of(model))
        outputs = predict_once(reading, data.X)
        self._units = int(np.prod(outputs.shape[1:]))
        activation, _ = ending_of(reading, data.X)
        if not model.compiled:
            compiling = dict(self._recipe.compile_arguments or {})
            if compiling.get("loss") is None:
                compiling["loss"] = default_loss(is_classifier(self), activation, self._units)
            if ours and not is_classifier(self) and self.loss is None:
                # in units of the target's variance, so that no step size depends on the target's scale
                _, scale = standardisation(data.y, data.weight)
                compiling.setdefault("loss_weights", [float(1 / np.mean(scale**2))])
            self._recipe = Recipe(self._recipe.make, self._recipe.arguments, compiling, self.dtype)
            self._recipe.compile(model)
        elif self.loss is not None and loss_name(self.loss) != loss_name(only_loss(model)):
            raise ValueError(
                f"loss={self.loss!r}, but the model comes compiled with {loss_name(only_loss(model))!r}. Compile it "
                "with that loss, or leave one of the two out."
            )
        loss = only_loss(model)
        if loss is None:
            raise ValueError("The model comes compiled without a loss; compile it with one, or pass loss=.")
        if activation in ("linear", "bounded") and not ours:
            activation, _ = ending_of(reading, data.X)  # the loss may tell
        self._check_ending(loss, activation, self._units)
        codes = () if self.categorical is None else self.categories_.columns
        standardise(model, data.X, None if is_classifier(self) else data.y, data.weight, codes)
        if isinstance(model, ColumnGatedMLP):
            model.close_constant()
        return model

    # --- training

    def _rows(self, data: TrainingData) -> Rows:
        """Rows with targets in the form that the loss takes."""
        target = self._loss_target(data.y, only_loss(self.model_), self._units)
        weight = None if data.weight is None else data.weight.astype(self.dtype)
        return Rows(data.X, target, weight, self._inputs_of(self.model_))

    def _split(
        self, rows: Rows, y: NDArray, resolved: _Resolved, seed: int
    ) -> tuple[Rows, Rows | None, list[keras.callbacks.Callback]]:
        """Rows to train on, rows to watch, and what is done with what is seen."""
        share = resolved.validation_split
        given = routed(self.get_params(deep=False), "fit").get("validation_data")
        if given is not None:  # goes before the split, as in Keras
            watched = self._watched(given)
            return rows, watched, [self._stop(watched)] if share is None and self.epochs == "auto" else []
        if share is None:  # the default model's own way
            if len(y) < _defaults.HELD_OUT_FROM or self.epochs != "auto":
                return rows, None, []
            rng = np.random.RandomState(seed)
            kept, out = held_out(y, is_classifier(self), _defaults.HELD_OUT, rng)
            return rows.take(kept), rows.take(out), [self._stop(rows.take(out))]
        if not 0 <= share < 1:
            raise ValueError(f"validation_split={share} must be at least 0 and less than 1.")
        n = int(np.floor(len(y) * (1 - share)))
        if n == 0:
            raise ValueError(f"validation_split={share} leaves no row of {len(y)} to train on.")
        return (rows, None, []) if n == len(y) else (rows.take(slice(n)), rows.take(slice(n, None)), [])

    def _stop(self, watched: Rows) -> keras.callbacks.Callback:
        """What ends the default model's training, by the loss of rows that are watched."""
        params = self.get_params(deep=False)
        asked = routed(params, "model") | self._bare_parameters()
        whole = "epochs" not in routed(params, "fit")
        if self._builder is not mlp and asked.get("sparsity", "auto") == "auto" and whole:
            return SparsityPath(watched)
        patience = _defaults.PATIENCE
        return keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True)

    def _watched(self, given: Any) -> Rows:
        """Rows of ``fit__validation_data``, read like those of fit."""
        if not isinstance(given, list | tuple) or len(given) not in (2, 3):
            raise TypeError("fit__validation_data must be (X, y) or (X, y, sample_weight).")
        X, y, weight = (*given, None)[:3]
        data = self._training_data(X, y, weight, reset=False)
        self._of_fitted_shape(data.X)
        return self._rows(data)

    def _schedule(self, resolved: _Resolved, n: int, epochs: int, initial: int, seed: int) -> Schedule:
        fit = routed(self.get_params(deep=False), "fit")
        size = n if resolved.batch_size == -1 else resolved.batch_size
        watching = fit.get("validation_batch_size", self.validation_batch_size)
        watching = size if watching is None else n if watching == -1 else watching
        if size < 1 or watching < 1:
            raise ValueError(f"batch_size={min(size, watching)} must be at least 1, or -1 for all rows.")
        return Schedule(
            epochs=epochs,
            initial_epoch=initial,
            batch_size=size,
            validation_batch_size=watching,
            shuffle=bool(fit.get("shuffle", self.shuffle)),
            verbose=fit.get("verbose", self.verbose),
            validation_freq=fit.get("validation_freq", 1),
            seed=seed,
        )

    # --- pickling

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__()) | self._frozen_parameters()
        state.pop("_networks", None)
        if "model_" in state:
            state["model_"] = Packed.of(self.model_, self._recipe, self._input_shape, self._inputs_of(self.model_))
        if isinstance(self.model, keras.Model):
            state["model"] = Packed.of_parameter(self.model)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._thaw_parameters()
        # parameters first: the build function may be a method that reads them
        for name in ("model", "model_"):
            if isinstance(state.get(name), Packed):
                setattr(self, name, state[name].unpack())
        if "model_" in state:
            self._networks = {}

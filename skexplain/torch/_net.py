"""What both torch estimators share: skorch's net, made fit for scikit-learn's data and contract."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_scalar
from skorch import NeuralNet
from skorch.callbacks import PrintLog
from skorch.dataset import Dataset, unpack_data
from skorch.utils import is_dataset, noop, to_tensor
from torch import nn
from torch.utils.data import DataLoader, Subset

from .. import _defaults
from .._data import TrainingData, check_loss, held_out, prediction_rows, standardisation, typical_rows
from .._estimator import ExplainableMixin
from .._head import Output
from .._inputs import Inputs, codes_and_numbers, inputs_of
from .._pieces import quantiles
from ..training._watcher import Watcher
from ._callbacks import Stop, lighter
from ._criterion import assumed_activation, plain, row_losses, unreduced, weighted_mean
from ._draw import draw_weights
from ._ending import first_output, last_activation
from ._epoch import run_epoch, score_epoch, unobserved
from ._gated import ColumnGatedMLP, shrink_gates
from ._loader import ArrayDataset, TensorBatches, in_memory, slices
from ._module import MLP
from ._network import TorchNetwork, torch_network
from ._sizes import sized
from ._sparsity import SparsityPath
from ._table import TakesTable, takes_two
from ._untouched import as_tensor, seeded, untouched

#: Rows of a prediction batch. Smaller ones are filled up with zeros, so that a row's prediction does not depend on
#: how many are predicted with it: matrix products round differently at different sizes.
PREDICT_ROWS = 256
#: Numbers in a prediction batch that are few enough to exceed a small ``batch_size``.
PREDICT_NUMBERS = 2**15
#: Held-out share with a module of the user's own, as in skorch, and the fewest rows for it.
SKORCH_HELD_OUT, SKORCH_HELD_OUT_FROM = 0.2, 10


class TorchEstimator(ExplainableMixin, NeuralNet):
    """skorch's `NeuralNet` with widths from the data, any array as input, seeded fits and fast batches."""

    history_ = None
    initialized_ = False
    virtual_params_: dict = {}  # noqa: RUF012  replaced, never changed, by `initialize`
    _training: TrainingData | None = None
    _first_batch: Any = None
    _stopping = False
    _watchers: Sequence[Watcher] = ()
    _inputs: Inputs | None = None
    _listed: frozenset[str]
    #: The class or function that made ``module_``, and its arguments: parameters may be set anew after a fit.
    _made_by: tuple[Any, dict[str, Any]]

    def __init__(self, module: Any = None, **params: Any) -> None:
        # not setattr: skorch would take a module instance for a fitted component
        self.__dict__.update(module=module, **params)

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **fit_params: Any) -> Any:
        """Train the module on X and y.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, n_features), or a dataset as skorch takes it
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None
        **fit_params : dict
            Passed to the module's ``forward``, as in skorch.

        Returns
        -------
        self
        """
        return self._train(X, y, sample_weight, fit_params, fresh=not (self.warm_start and self.initialized_))

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None, **fit_params: Any
    ) -> Any:
        """Train on from the present weights; the first call must see, or be told, all classes."""
        return self._train(X, y, sample_weight, fit_params, fresh=not self.initialized_, classes=classes)

    def _train(self, X: Any, y: Any, sample_weight: Any, fit_params: dict, *, fresh: bool, classes: Any = None) -> Any:
        if fresh or self._inputs is None:
            self._inputs = inputs_of(X)
        X = X if self._inputs is None else self._inputs.table(X)
        plain = _is_skorch_data(X)
        first = fresh or not hasattr(self, "n_features_in_")
        data = None if plain else self._check_training(X, y, sample_weight, classes, reset=first)
        seed = None
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._forget_importances()
        meanwhile = {
            "_training": data,
            "_split_seed": seed,
            "_first_batch": self._some_rows(X if data is None else data.X),
            "_stopping": isinstance(self.max_epochs, str) and self.max_epochs == "auto",
        }
        self.__dict__.update(meanwhile)
        try:
            with seeded(seed), self._resolved(), self._watching(go_on=not fresh) as watchers:
                self.__dict__["_watchers"] = watchers
                check_scalar(self.max_epochs, "max_epochs", Integral, min_val=0)
                if fresh:
                    self.initialize()
                fit_params.pop("_routing_method", None)
                X, y = (X, y) if data is None else (data.X, data.y)
                NeuralNet.partial_fit(self, X, y, _routing_method="fit" if fresh else "partial_fit", **fit_params)
                for watcher in watchers:  # not earlier: a callback may have restored the best weights
                    watcher.finish()
        finally:
            for name in (*meanwhile, "_watchers"):
                self.__dict__.pop(name, None)
            for _, callback in getattr(self, "callbacks_", []):
                if isinstance(callback, Watcher):
                    callback.release()
        self.n_iter_ = len(self.history)
        if data is not None:
            self._probe_rows = typical_rows(data.X)
            self._keep(data.X, self._original_targets(data.y))
        return self

    def initialize_module(self) -> Any:
        """Build ``module_``: sizes from the data, unless set; an instance is copied and its weights drawn anew."""
        kwargs = self.get_params_for("module")
        data = self._training
        if isinstance(self.module, nn.Module):
            module = type(self.module)(**kwargs) if kwargs else copy.deepcopy(self.module)
            self._made_by = (type(self.module) if kwargs else self.module), kwargs
            if not self.warm_start and not kwargs:
                draw_weights(module)
        else:
            build = ColumnGatedMLP if self.module is None else self.module
            if data is not None:
                if self._is_ours:
                    kwargs = self._learned_params(data) | kwargs
                kwargs = sized(build, kwargs, data.X.shape[1], self._n_raw(), self._cardinalities)
            elif self.module is None:
                raise ValueError("The default module takes its widths from an array X in `fit`; pass a module.")
            module = build(**kwargs)
            self._made_by = build, kwargs
        module = self._in_dtype(module)
        if data is not None and any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
            with torch.no_grad():  # lazy layers take their width from a few rows
                self._reading_table(module.eval())(as_tensor(data.X[:2]))
        self.module_ = module
        return self

    @property
    def _is_ours(self) -> bool:
        """Whether the module is one of this library's for tables, which takes its scales from the data."""
        return self.module in (None, ColumnGatedMLP, MLP)

    def _learned_params(self, data: TrainingData) -> dict:
        """What a module of this library's takes from the training data."""
        mean, scale = standardisation(data.X, data.weight)
        edges = {} if self.module is MLP else {"edges": quantiles(data.X, data.weight)}
        return {"mean": mean, "scale": scale, **edges}

    @property
    def _cardinalities(self) -> dict[int, int] | None:
        """Number of codes of each categorical column; None where nobody asked for such."""
        return None if self.categorical is None else self.categories_.cardinalities

    def _reading_table(self, module: nn.Module) -> nn.Module:
        """The module as a function of the table; one of several inputs is given these."""
        inputs = self._inputs
        if inputs is None and self.categorical is not None and takes_two(getattr(module, "_orig_mod", module)):
            inputs = codes_and_numbers(self.categories_.columns, self.n_features_in_)
        return module if inputs is None else TakesTable(module, inputs)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """skorch's; a module of several inputs is given these."""
        reading = self._reading_table(self.module_)
        if reading is self.module_ or not isinstance(x, torch.Tensor):
            return super().infer(x, **fit_params)
        return reading(to_tensor(x, device=self.device), **fit_params)

    def initialize_optimizer(self, triggered_directly: Any = None) -> Any:
        """Build ``optimizer_``."""
        with self._resolved():
            return super().initialize_optimizer()

    @contextmanager
    def _resolved(self) -> Iterator[None]:
        """Put numbers and classes in the place of "auto": the default module's, or skorch's own.

        For the time of a fit, in which callbacks read them.
        """
        default = self._is_ours
        own = torch.optim.Adam if default else torch.optim.SGD
        numbers = {
            "optimizer": own,
            "lr": _defaults.LEARNING_RATE if default else 0.01,
            "max_epochs": _defaults.MAX_EPOCHS * (len(_defaults.SPARSITIES) if self._tries_sparsities else 1)
            if default
            else 10,
            "batch_size": _defaults.BATCH_SIZE if default else 128,
        }
        automatic = {
            k: v for k, v in numbers.items() if isinstance(getattr(self, k), str) and getattr(self, k) == "auto"
        }
        if default and "lr" in automatic and "optimizer" not in automatic:
            # another optimizer's step is its own affair
            given = inspect.signature(self.optimizer).parameters["lr"].default
            automatic["lr"] = given if isinstance(given, float) else 0.01
        self.__dict__.update(automatic)
        try:
            yield
        finally:
            self.__dict__.update(dict.fromkeys(automatic, "auto"))

    def get_default_callbacks(self) -> list:
        """skorch's, and early stopping for the default module, unless its epochs are set or its rows are few."""
        callbacks = lighter(super().get_default_callbacks())
        if self._early_stopping:
            kind = SparsityPath if self._tries_sparsities else Stop
            stop = kind(patience=_defaults.PATIENCE, load_best=True, sink=noop)
            callbacks.insert(-1, ("early_stopping", stop))
        return callbacks

    @property
    def _early_stopping(self) -> bool:
        data = self._training
        enough = data is not None and len(data.X) >= _defaults.HELD_OUT_FROM
        return self._is_ours and self.train_split == "auto" and self._stopping and enough

    @property
    def _tries_sparsities(self) -> bool:
        """Whether the default module's sparsity is chosen by the loss of rows that are held out."""
        asked = self.get_params_for("module").get("sparsity", "auto")
        return self._early_stopping and self.module is not MLP and isinstance(asked, str)

    def check_data(self, X: Any, y: Any = None) -> None:
        """Arrays have been checked by `fit`; datasets are checked as in skorch."""
        if self._training is None:
            super().check_data(X, y)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Arrays of `fit` with their weights; anything else as in skorch."""
        if self.dataset is Dataset and isinstance(X, np.ndarray) and not self.get_params_for("dataset"):
            weight = None if self._training is None or y is not self._training.y else self._training.weight
            return ArrayDataset(X, y, weight)
        return super().get_dataset(X, y)

    def get_split_datasets(self, X: Any, y: Any = None, **params: Any) -> tuple[Any, Any]:
        """Hold out rows by ``train_split``; "auto" spreads them evenly over the sorted target."""
        if self.train_split != "auto":
            return super().get_split_datasets(X, y, **params)
        dataset = self.get_dataset(X, y)
        if self._is_ours:
            wanted, share = self._early_stopping, _defaults.HELD_OUT
        else:
            wanted, share = len(dataset) >= SKORCH_HELD_OUT_FROM, SKORCH_HELD_OUT
        if not wanted or not in_memory(dataset):
            return dataset, None
        seed = self.__dict__.get("_split_seed")
        seed = int(torch.randint(2**31 - 1, (1,))) if seed is None else seed
        train, valid = held_out(np.asarray(y), hasattr(self, "classes_"), share, np.random.RandomState(seed))
        return Subset(dataset, train), Subset(dataset, valid)  # type: ignore[arg-type]  # skorch's are arrays too

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Slices of tensors for arrays, unless another iterator or option of `DataLoader` was asked for."""
        kind = "iterator_train" if training else "iterator_valid"
        kwargs = self.get_params_for(kind)
        with self._resolved():
            size = kwargs.pop("batch_size", self.batch_size)
        size = len(dataset) if size == -1 else check_scalar(size, "batch_size", Integral, min_val=1)
        ours = getattr(self, kind) is DataLoader and in_memory(dataset)
        if ours and kwargs.keys() <= {"shuffle", "drop_last"}:
            return TensorBatches(dataset, size, device=self.device, **({"shuffle": training} | kwargs))
        if self._training is not None and self._training.weight is not None:
            raise ValueError(
                "sample_weight and class_weight are carried by the iterator for arrays in memory only. Leave out "
                f"{kind}={getattr(self, kind).__name__}, its options {sorted(kwargs)} and `dataset`, or the weights."
            )
        if ours and not kwargs.keys() & {"sampler", "batch_sampler"}:
            kwargs = {"shuffle": training} | kwargs
        return getattr(self, kind)(dataset, batch_size=size, **kwargs)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict:
        """skorch's step, with the rows' weights in the loss."""
        with self._weighing(batch):
            step = super().train_step_single(batch, **fit_params)
        if self._n_members > 1:  # scores are of what the ensemble predicts
            step["y_pred"] = step["y_pred"].unflatten(0, (self._n_members, -1)).mean(0)
        return step

    @property
    def _n_members(self) -> int:
        """Networks that the module trains side by side."""
        module = getattr(self.module_, "_orig_mod", self.module_)
        return module.n_ensemble if isinstance(module, ColumnGatedMLP) else 1

    def validation_step(self, batch: Any, **fit_params: Any) -> dict:
        """skorch's step, with the rows' weights in the loss."""
        with self._weighing(batch):
            return super().validation_step(batch, **fit_params)

    def _step_optimizer(self, step_fn: Any) -> None:
        """skorch's; then gates are shrunk."""
        super()._step_optimizer(step_fn)
        shrink_gates(self.module_, self.optimizer_)

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        """skorch's, without its bookkeeping between batches where nobody looks on."""
        if unobserved(self, iterator, training):
            (run_epoch if training else score_epoch)(self, iterator, prefix, **fit_params)
        else:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    @contextmanager
    def _weighing(self, batch: Any) -> Iterator[None]:
        self.__dict__["_batch_weight"] = getattr(batch, "weight", None)
        try:
            yield
        finally:
            del self.__dict__["_batch_weight"]

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """The criterion, on targets of the predictions' shape; a weighted mean if rows have weights."""
        pred = first_output(y_pred)
        y_true = torch.as_tensor(y_true, device=pred.device)
        weight, activation = self.__dict__.get("_batch_weight"), getattr(self, "activation_", None)
        members = self._n_members if training else 1
        if members > 1:  # each predicts for itself
            y_true = y_true.repeat(members, *[1] * (y_true.ndim - 1))
            weight = None if weight is None else weight.repeat(members)
        if weight is None:
            loss = row_losses(self.criterion_, pred, y_true, activation)
            # the mean of the members' losses, whose slope `MeanOfMembers` gives each of them back
            return loss / members if getattr(plain(self.criterion_), "reduction", None) == "sum" else loss
        with unreduced(self.criterion_):
            return weighted_mean(row_losses(self.criterion_, pred, y_true, activation), weight)

    def initialize_callbacks(self) -> Any:
        """skorch's, in the order: the user's, our early stopping, the log."""
        super().initialize_callbacks()
        self.callbacks_.sort(key=lambda item: (isinstance(item[1], PrintLog), isinstance(item[1], Stop)))
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Let the strategy look on, if it watches the training."""
        super().on_train_begin(net, X, y, **kwargs)
        for watcher in self._watchers:
            watcher.on_train_begin(net, X, y)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Restore the best weights before callbacks look at them."""
        super().on_train_end(net, X, y, **kwargs)
        for _, callback in self.callbacks_:
            if isinstance(callback, Stop):
                callback.restore(net)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Let the strategy look on."""
        super().on_batch_end(net, batch, training, **kwargs)
        for watcher in self._watchers:
            watcher.on_batch_end(net, training=training)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Stop with a sentence when the loss is not a number."""
        losses = self.history[-1, "batches", :, "train_loss"]
        rate = self.optimizer_.param_groups[0].get("lr")
        check_loss(float(np.sum(losses)), len(self.history), rate)
        super().on_epoch_end(net, dataset_train, dataset_valid, **kwargs)
        for watcher in self._watchers:
            watcher.on_epoch_end(net)

    def forward_iter(self, X: Any, training: bool = False, device: Any = "cpu") -> Iterator[Any]:
        """Outputs of batches; for arrays of full, zero-padded slices."""
        if not isinstance(X, np.ndarray):
            yield from super().forward_iter(X, training=training, device=device)
            return
        size = PREDICT_ROWS
        if isinstance(self.batch_size, int) and self.batch_size > 0:
            few = PREDICT_NUMBERS // max(1, math.prod(X.shape[1:]))
            size = min(size, max(int(self.batch_size), few))
        step = self._evaluation(training)
        anchor = next(self.module_.parameters(), None)
        for batch in slices(X, size):
            n = len(batch)
            if anchor is not None and batch.is_floating_point():
                batch = batch.to(anchor.dtype)
            if n < size and not training:
                batch = torch.cat([batch, batch.new_zeros(size - n, *batch.shape[1:])])
            out = step(batch)
            out = first_output(out) if isinstance(out, Mapping) else out  # slices of these are of their entries
            cut = tuple(o[:n] for o in out) if isinstance(out, tuple) else out[:n]
            yield tuple(o.to(device) for o in cut) if isinstance(cut, tuple) else cut.to(device)

    def _evaluation(self, training: bool) -> Callable[[torch.Tensor], Any]:
        """`evaluation_step` on a tensor; where it is skorch's, what holds for all batches is done once."""
        if not self._is_skorchs("evaluation_step", "check_is_fitted", "_set_training"):
            return lambda batch: self.evaluation_step((batch, None), training=training)
        self.check_is_fitted()
        self._set_training(training)
        infer = self._inference()

        def step(batch: torch.Tensor) -> Any:
            with torch.set_grad_enabled(training):
                return infer(batch)

        return step

    def _inference(self) -> Callable[..., Any]:
        """`infer` on tensors; where it is skorch's and there is nowhere to move them, the module itself."""
        if str(self.device) == "cpu" and type(self).infer is TorchEstimator.infer and "infer" not in vars(self):
            return self._reading_table(self.module_)
        return self.infer

    def _is_skorchs(self, *names: str) -> bool:
        """Whether methods are skorch's own, and neither a subclass's nor put on the instance."""
        return all(getattr(type(self), n) is getattr(NeuralNet, n) and n not in vars(self) for n in names)

    def _outputs(self, X: Any) -> torch.Tensor:
        """First output of the module for every row."""
        check_is_fitted(self)
        plain = _is_skorch_data(X) and self._inputs is None
        rows = X if plain or self._training is not None else self._check_rows(X)
        if getattr(self, "activation_", "") is None:  # built without data, its weights were loaded
            self.activation_ = self._observe(self._some_rows(rows))[0] or assumed_activation(self.criterion_)
        return torch.cat([first_output(out) for out in self.forward_iter(rows)])

    def _network(self, output: Output = "margin") -> TorchNetwork:
        check_is_fitted(self)
        if getattr(self, "_probe_rows", None) is None:
            raise ValueError(
                f"This {type(self).__name__} was not fitted on an array, so its rows are not known; "
                "use `skexplain.explain(net.module_, X)`."
            )
        classes = getattr(self, "classes_", None)
        module = self._reading_table(getattr(self.module_, "_orig_mod", self.module_))  # see `torch_network`
        return torch_network(module, self._probe_rows, classes=classes, regression=classes is None, output=output)

    def _in_dtype(self, part: Any) -> Any:
        return part.to(getattr(torch, self.dtype)) if isinstance(part, nn.Module) else part

    def _some_rows(self, X: Any) -> Any:
        """What `infer` takes for the first rows of X."""
        if isinstance(X, np.ndarray):
            return as_tensor(X[:8])
        # one worker, unshuffled: other rows than the first are none of its business
        return unpack_data(next(iter(DataLoader(self.get_dataset(X), batch_size=8))))[0]

    def _observe(self, rows: Any) -> tuple[str | None, int | None]:
        """Last activation of ``module_`` and its number of outputs, from some rows; None where it cannot be run."""
        module = getattr(self.module_, "_orig_mod", self.module_)
        with untouched(module), torch.no_grad():
            try:
                out = first_output(self.infer(rows))
            except TypeError:  # forward wants more than X: fit_params
                return None, None
            except RuntimeError as exc:
                if "indices" not in str(exc):
                    raise
                raise ValueError(
                    f"The module looks X up as integers, but gets {self.dtype}, whatever X was. Convert it in its "
                    f"forward: `x.long()`. ({exc})"
                ) from exc
            return last_activation(self.infer, rows)[0], 1 if out.ndim == 1 else int(out[0].numel())

    def _check_rows(self, X: Any) -> NDArray:
        X = X if self._inputs is None else self._inputs.table(X)
        return prediction_rows(self, X, allow_nd=self.module is not None)

    def set_params(self, **params: Any) -> Any:
        """Set parameters. They take effect at the next ``fit``, as in scikit-learn.

        Only those of the optimizer (``lr``, ``optimizer__momentum``) and of callbacks act at once, as in skorch.
        """
        later = {k: v for k, v in params.items() if self._waits(k)}
        self.__dict__.update(later)
        return super().set_params(**{k: v for k, v in params.items() if k not in later})

    def _waits(self, name: str) -> bool:
        """Whether a parameter is only read when the net is built."""
        if name.startswith(("attribution__", "callbacks__")):
            return False
        if not self.initialized_:
            return name == "callbacks"
        component = name.split("__")[0] in {*self.prefixes_, "module", "criterion", "optimizer", "compile"}
        return component and name != "callbacks" and not self._is_virtual_param(name)

    def load_params(self, *args: Any, **kwargs: Any) -> Any:
        """skorch's; importances of the weights before are forgotten."""
        super().load_params(*args, **kwargs)
        self._importances = None

    def _forget_importances(self) -> None:
        for name in ("_importances", "_kept", "_importance_seed", "_probe_rows"):
            self.__dict__.pop(name, None)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._constructor_names():
            self.__dict__[name] = value  # a parameter, though it may be a module instance
        else:
            super().__setattr__(name, value)

    def _get_param_names(self) -> list[str]:  # type: ignore[override]
        return [k for k in self.__dict__ if not k.startswith("_") and not k.endswith("_")]

    @classmethod
    def _constructor_names(cls) -> frozenset[str]:
        """Names of the parameters that the constructors of the class and its bases list."""
        if "_listed" not in vars(cls):
            makers = [c.__init__ for c in cls.__mro__ if "__init__" in vars(c) and issubclass(c, TorchEstimator)]
            cls._listed = frozenset(name for make in makers for name in inspect.signature(make).parameters)
        return cls._listed

    @property
    def _params_to_validate(self) -> set[str]:
        """Names that the constructor does not list: skorch checks their prefixes once the net is built."""
        return set(self._get_param_names()) - self._constructor_names()

    def __repr__(self) -> str:
        """scikit-learn's: the parameters that differ from their defaults."""
        return BaseEstimator.__repr__(self)

    def __getstate__(self) -> dict:
        if torch.device(self.device).type == "cpu":
            # as it is: skorch's own bytes inside the bytes cannot hold classes defined in a notebook
            return self.__dict__.copy()
        return super().__getstate__()

    def __setstate__(self, state: dict) -> None:
        if "__cuda_dependent_attributes__" in state:
            super().__setstate__(state)
        else:
            self.__dict__.update(state)


def _is_skorch_data(X: Any) -> bool:
    """Data that only skorch knows how to read: datasets, dicts, tuples of inputs."""
    if isinstance(X, tuple):
        return any(np.ndim(part) > 1 for part in X)
    return is_dataset(X) or (isinstance(X, Mapping) and not issparse(X))  # a dok matrix is a dict

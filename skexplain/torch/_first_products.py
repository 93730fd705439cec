"""The first products of weights with what comes from the input: where the input's own weights are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from ..exceptions import UnsupportedModelError

REMEDY = "use attribution='permutation'"

# Names of functions, without underscores: `Tensor.sub_` and `Tensor.__sub__` are "sub".

#: Functions that may take weights beside the input and are no products: their results' numbers stand for the input's.
LOOKED_THROUGH = set(
    "add sub mul div multiply divide subtract truedivide radd rsub rmul rdiv rtruediv truediv iadd isub imul itruediv "
    "addcmul addcdiv lerp pow batchnorm instancenorm layernorm groupnorm rmsnorm nativelayernorm nativebatchnorm prelu "
    "embedding embeddingbag cat concat concatenate stack hstack vstack columnstack where setitem getitem copy "
    "maximum minimum clamp indexselect gather to typeas viewas reshapeas expandas "
    "lt gt le ge eq ne bucketize searchsorted".split()
)
#: Functions that keep the numbers of each row, in their order.
ORDER_KEPT = set("flatten reshape view unsqueeze squeeze contiguous unflatten clone detach to float double".split())
#: Functions of each number alone, if the result has the shape of the argument.
POINTWISE = set(
    "add sub mul div multiply divide subtract truedivide radd rsub rmul rdiv rtruediv truediv iadd isub imul itruediv "
    "neg dropout alphadropout featurealphadropout tanh relu relu6 sigmoid silu gelu elu selu leakyrelu prelu softplus "
    "logsigmoid hardtanh hardswish hardsigmoid mish abs exp expm1 log log1p log2 log10 sqrt rsqrt square sin cos tan "
    "erf sign clamp clip clampmin clampmax nantonum float double half long int to clone detach contiguous".split()
)
MULTIPLICATION = {"mul", "rmul", "multiply", "imul"}
#: Functions that take sizes from their arguments and nothing else.
SHAPED_ALIKE = set(
    "zeros ones empty newzeros newones newfull newempty zeroslike oneslike fulllike emptylike "
    "randlike randnlike randintlike".split()
)
#: Where values leave torch, and what is made of them is not seen. (With underscores: `Tensor.float` stays.)
ESCAPES = set("numpy tolist item __array__ __float__ __int__ __index__ __complex__ __dlpack__".split())
#: Those that may ask for the size of a batch instead.
SIZES = set("tolist item __int__ __index__".split())


@dataclass(frozen=True)
class Weights:
    """Weights of a product.

    Attributes
    ----------
    tensor : Tensor
    axis : int
        That runs over the inputs.
    inputs : Tensor of int
        Of a shape that broadcasts to the operand's: which of the inputs each of its numbers is; -1 for none.
    part : tuple of int, optional
        From where to where along the first axis, if not all of it.
    flat : bool
        Whether each single weight has its own input.
    """

    tensor: Tensor
    axis: int
    inputs: Tensor
    part: tuple[int, int] | None = None
    flat: bool = False


@dataclass(frozen=True)
class Product:
    """A product of weights with numbers that come from the input, not through other weights.

    Attributes
    ----------
    operand : Tensor
        The numbers.
    ordered : bool
        Whether they are those of the rows, in their order, each changed by itself at most.
    weights : list of Weights
    """

    operand: Tensor
    ordered: bool
    weights: list[Weights]


def first_products(
    module: Callable[[Tensor], Any],
    x: Tensor,
    *,
    made_up: bool = False,
    results: list[Any] | None = None,
    stop_after: int | None = None,
    **changes: Any,
) -> FirstProducts:
    """Run a module in evaluation mode on rows, and watch the first products.

    Parameters
    ----------
    module : Module
    x : Tensor of shape (n, *features)
        Is copied: the module may write to its input.
    made_up : bool
        Whether codes in the rows may be any, and it only matters where they are looked up.
    results : list, optional
        Results of the products of an earlier run on as many rows, to be taken instead of these rows'; then it is only
        by other ways that the input changes what follows.
    stop_after : int, optional
        Number of products after which the run ends.
    **changes
        See `FirstProducts`.

    Raises
    ------
    UnsupportedModelError
        For weights that are met otherwise.
    """
    run = FirstProducts(x.clone(), made_up, results, stop_after, **changes)
    with torch.no_grad(), suppress(_StopRun), run:
        module(run.x)
    return run


class _StopRun(BaseException):
    """All that was asked for has been seen. No error, and not to be caught by the module."""


class FirstProducts(TorchFunctionMode):
    """Follows what is computed from the input, up to products with weights; see `first_products`.

    Parameters
    ----------
    x, made_up, results, stop_after
    padding, code : float
        Added to what the input is padded with, and to what is looked up by codes: what changes is made of it.
    batch_statistics : bool
        Whether batch normalisation takes mean and variance of these rows, as in training.

    Attributes
    ----------
    products : list of Product
    results : list
        Of these products.
    beside : list of Tensor
        What weights meet that is not seen to come from the input.
    looks_up : bool
        Whether codes are looked up in an embedding.
    """

    def __init__(
        self,
        x: Tensor,
        made_up: bool,
        results: list[Any] | None,
        stop_after: int | None,
        padding: float = 0.0,
        code: float = 0.0,
        batch_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.made_up = made_up
        self.padding, self.code, self.batch_statistics = padding, code, batch_statistics
        self.beside: list[Tensor] = []
        self.looks_up = False
        self.x, self.given_results, self.stop_after = x, results, stop_after
        self.products: list[Product] = []
        self.results: list[Any] = []
        # By memory, which views share: whether what is computed from the input came without weights.
        self.flow: dict[int, bool] = {_memory(x): True}
        self.ordered = {id(x)}
        # What is computed without the input: how, and whether from weights.
        self.made: dict[int, tuple[_Recipe, bool]] = {}
        self.alive: list[Any] = []  # so that no id or memory is used twice

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").replace("_", "")
        given = _tensors((args, kwargs))
        flows = [self.flow.get(_memory(t)) for t in given]
        fresh = [t for t, flow in zip(given, flows, strict=True) if flow]
        if fresh and name in SHAPED_ALIKE:
            return func(*args, **kwargs)
        if not fresh:
            out = func(*args, **kwargs)
            if any(flow is False for flow in flows):
                self._flows(_tensors(out), fresh=False)
            elif given:
                if any(self._has_weights(t) for t in given):
                    self.beside += [t.clone() for t in given if not self._has_weights(t)]
                self._is_made(func, args, kwargs, given, out)
            return out
        if self._escapes(getattr(func, "__name__", ""), fresh):
            raise UnsupportedModelError(
                f"The input leaves torch in the module ({name}), where nothing is seen; {REMEDY}."
            )
        weighted = any(self._has_weights(t) for t in given)
        found = self._product(name, args, kwargs) if weighted else None
        if found is not None:
            return self._multiply(found, func, args, kwargs)
        if weighted and name not in LOOKED_THROUGH:
            raise UnsupportedModelError(
                f"The module joins its input with weights by {name!r}, whose weights cannot be told apart by column; "
                f"{REMEDY}."
            )
        out = self._without_weights(func, args, kwargs)
        results = [*_tensors(out), *([args[0]] if name == "setitem" else [])]
        self._flows(results, fresh=True)
        self._follow_order(name, args, kwargs, given, fresh, results)
        return out

    @staticmethod
    def _escapes(name: str, fresh: list[Tensor]) -> bool:
        return name in ESCAPES and not (name in SIZES and not any(t.is_floating_point() for t in fresh))

    def recipe(self, weights: Weights) -> _Recipe | None:
        """How the weights are computed; None if they are a parameter."""
        if id(weights.tensor) not in self.made:
            return None
        recipe = self.made[id(weights.tensor)][0]
        if not all(same(recipe(), weights.tensor).all() for _ in range(2)):
            raise UnsupportedModelError(
                f"The weights on the input are drawn anew at each call of the module; {REMEDY}."
            )
        return recipe

    def sources(self, weights: Weights) -> list[Tensor]:
        """The tensors that the weights are, or are computed from."""
        tensor = weights.tensor
        return self.made[id(tensor)][0].sources if id(tensor) in self.made else [tensor]

    def key(self, weights: Weights) -> Any:
        """Equal for the same weights, also where they are computed again at each call."""
        make = self.made.get(id(weights.tensor))
        tensor = id(weights.tensor) if make is None else make[0].name
        return tensor, weights.axis, weights.part, weights.flat

    def _multiply(self, found: tuple[Tensor, list[Weights]], func: Any, args: Any, kwargs: Any) -> Any:
        operand, weights = found
        self.products.append(Product(operand.clone(), id(operand) in self.ordered, weights))
        if len(self.products) == self.stop_after:
            self.results.append(None)
            raise _StopRun
        if self.given_results is None:
            out = func(*args, **kwargs)
        elif len(self.products) <= len(self.given_results):
            out = _clone(self.given_results[len(self.products) - 1])
        else:
            raise UnsupportedModelError(f"Which layers the module calls depends on the values of the rows; {REMEDY}.")
        self.results.append(_clone(out))  # activations may write to the original
        self._flows(_tensors(out), fresh=False)
        return out

    def _product(self, name: str, args: Any, kwargs: Any) -> tuple[Tensor, list[Weights]] | None:
        """The operand from the input and the weights it meets; None if it is not the input that meets the weights."""
        found = PRODUCTS[name](self, args, kwargs) if name in PRODUCTS else None
        if found is None:
            return None
        operand, weights = found
        # sizes of batches and other indices do not count
        alone = len({id(t) for t in _tensors((args, kwargs)) if self.is_fresh(t) and t.is_floating_point()}) == 1
        return found if alone and self.is_fresh(operand) and all(self._has_weights(w.tensor) for w in weights) else None

    def is_fresh(self, t: Any) -> bool:
        return isinstance(t, Tensor) and bool(self.flow.get(_memory(t)))

    def _has_weights(self, t: Tensor) -> bool:
        if id(t) in self.made:
            return self.made[id(t)][1]
        return isinstance(t, nn.Parameter) or (t.requires_grad and t.is_leaf)

    def _flows(self, tensors: list[Tensor], *, fresh: bool) -> None:
        for t in tensors:
            self.flow[_memory(t)] = fresh
            self.alive.append(t)

    def _is_made(self, func: Any, args: Any, kwargs: Any, given: list[Tensor], out: Any) -> None:
        """Remember how something is computed without the input: maybe weights, from the parameters behind them."""
        flat, spec = tree_flatten((args, kwargs))
        made = {k: self.made[id(v)][0] for k, v in enumerate(flat) if isinstance(v, Tensor) and id(v) in self.made}
        weighted = any(self._has_weights(t) for t in given)
        for k, result in enumerate(tree_leaves(out)):
            if isinstance(result, Tensor) and not any(result is t for t in given):
                rest = [None if j in made else v for j, v in enumerate(flat)]
                self.made[id(result)] = _Recipe(func, rest, spec, made, k), weighted
                self.alive.append(result)

    def _without_weights(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The function's result, or what is wanted in its place."""
        if func in (F.embedding, F.one_hot):
            return self._look_up(func, args, kwargs)
        if func is F.pad and self.padding:
            x, pad, mode, value = _arguments(args, kwargs, *"input pad mode value".split())
            if mode in (None, "constant"):
                return func(x, pad, value=(value or 0) + self.padding)
        if func is F.batch_norm and self.batch_statistics:
            x, _, _, weight, bias = _arguments(args, kwargs, *"input running_mean running_var weight bias".split())
            return func(x, None, None, weight, bias, True, eps=args[7] if len(args) > 7 else kwargs.get("eps", 1e-5))
        return func(*args, **kwargs)

    def _look_up(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Look codes up; where rows are made up, any codes, in a table in which no two are the same."""
        codes, table = _arguments(
            args, kwargs, *(["input", "weight"] if func is F.embedding else ["tensor", "num_classes"])
        )
        if func is F.embedding:  # without max_norm, which writes to the weights
            self.looks_up = True
            found = F.embedding(codes % len(table) if self.made_up else codes, table) + self.code
        elif self.made_up and table is not None and table > 0:
            found = F.one_hot(codes % table, table)
        else:
            return func(*args, **kwargs)
        return found + codes[..., None].to(found.dtype) if self.made_up else found

    def _follow_order(
        self, name: str, args: Any, kwargs: Any, given: list[Tensor], fresh: list[Tensor], results: list[Tensor]
    ) -> None:
        written = name == "setitem" or any(r is t for r in results for t in given)
        if len({id(t) for t in fresh}) == 1 and len(results) == 1 and name != "setitem":
            before, after = fresh[0], results[0]
            kept = (
                name in ORDER_KEPT and after.ndim > 0 and (len(after), after.numel()) == (len(self.x), before.numel())
            )
            alone = name in POINTWISE or (name == "batchnorm" and _is_alone(before, args, kwargs))
            if kept or (alone and after.shape == before.shape):
                if id(before) in self.ordered:
                    self.ordered.add(id(after))
                return
        if written:
            self.ordered.clear()


class _Recipe:
    """A computation, to be done again with what its tensors are by then.

    Attributes
    ----------
    name : tuple
        Equal for equal computations.
    sources : list of Tensor
        From which it starts.
    """

    def __init__(self, func: Any, flat: list[Any], spec: Any, made: dict[int, _Recipe], index: int) -> None:
        self.func, self.flat, self.spec, self.made, self.index = func, flat, spec, made, index
        parts = [made[k].name if k in made else _name_of(v) for k, v in enumerate(flat)]
        self.name: tuple[Any, ...] = (str(func), index, *parts)
        self.sources: list[Tensor] = [
            t for k, v in enumerate(flat) for t in (made[k].sources if k in made else _tensors(v))
        ]

    def __call__(self) -> Tensor:
        flat = [self.made[k]() if k in self.made else v for k, v in enumerate(self.flat)]
        args, kwargs = tree_unflatten(flat, self.spec)
        with torch.no_grad():
            return tree_leaves(self.func(*args, **kwargs))[self.index]


def _linear(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    x, weight = _arguments(args, kwargs, "input", "weight")
    return x, [Weights(weight, weight.ndim - 1, _along(x, -1))]


def _matmul(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    a, b = _arguments(args, kwargs, "input", "other" if "other" in kwargs else "mat2")
    if b.ndim <= 2 and run.is_fresh(a):
        return a, [Weights(b, 0, _along(a, -1))]
    if a.ndim <= 2 and b.ndim > 1 and run.is_fresh(b):
        return b, [Weights(a, a.ndim - 1, _along(b, -2))]
    return None


def _addmm(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    _, a, b = _arguments(args, kwargs, "input", "mat1", "mat2")
    return _matmul(run, (a, b), {})


def _convolution(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    x, weight, *_, groups = _arguments(args, kwargs, *"input weight bias stride padding dilation groups".split())
    channels = _along(x, 1 - weight.ndim)
    if groups in (None, 1):
        return x, [Weights(weight, 1, channels)]
    size, width = weight.shape[1], len(weight) // groups
    return x, [
        Weights(weight, 1, torch.where(channels // size == g, channels % size, -1), (g * width, (g + 1) * width))
        for g in range(groups)
    ]


def _transposed_convolution(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    x, weight = _arguments(args, kwargs, "input", "weight")
    return x, [Weights(weight, 0, _along(x, 1 - weight.ndim))]


def _recurrent(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    packed = isinstance(args[1], Tensor) and not args[1].is_floating_point()
    weights, _, n_layers, _, _, both_ways = args[3:9] if packed else args[2:8]
    n_ways = 2 if both_ways else 1
    step = len(weights) // (n_layers * n_ways)
    return args[0], [Weights(weights[k * step], 1, _along(args[0], -1)) for k in range(n_ways)]


def _cell(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    return args[0], [Weights(args[2], 1, _along(args[0], -1))]


def _attention(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    query, key, value, _, _, weight = args[:6]
    # otherwise only a part of the weights is the input's
    return (query, [Weights(weight, 1, _along(query, -1))]) if query is key is value and weight is not None else None


def _outer(run: FirstProducts, args: Any, kwargs: Any) -> Any:
    """A number times several weights of its own; with one weight it is only scaled."""
    pair = [*args, *kwargs.values()][:2]
    x, weight = pair if run.is_fresh(pair[0]) else pair[::-1]
    if not (isinstance(x, Tensor) and isinstance(weight, Tensor)):
        return None
    shape = torch.broadcast_shapes(x.shape, weight.shape)
    if prod(shape) == x.numel():
        return None
    index = torch.arange(weight.numel(), device=x.device).view(weight.shape)
    return x.expand(shape), [Weights(weight, 0, index, flat=True)]


PRODUCTS: dict[str, Callable[[FirstProducts, Any, Any], Any]] = {
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "multiheadattentionforward": _attention,
    **dict.fromkeys(["conv1d", "conv2d", "conv3d"], _convolution),
    **dict.fromkeys(["convtranspose1d", "convtranspose2d", "convtranspose3d"], _transposed_convolution),
    **dict.fromkeys(["lstm", "gru", "rnntanh", "rnnrelu"], _recurrent),
    **dict.fromkeys(["lstmcell", "grucell", "rnntanhcell", "rnnrelucell"], _cell),
    **dict.fromkeys(MULTIPLICATION, _outer),
}


def same(a: Tensor, b: Tensor) -> Tensor:
    """Where two tensors are equal; NaN is equal to NaN."""
    return (a == b) | ((a != a) & (b != b))


def _along(x: Tensor, axis: int) -> Tensor:
    """Index along an axis, of a shape that broadcasts to x's."""
    axis %= x.ndim
    return torch.arange(x.shape[axis], device=x.device).view(-1, *[1] * (x.ndim - axis - 1))


def _arguments(args: Any, kwargs: Any, *names: str) -> list[Any]:
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in enumerate(names)]


def _is_alone(x: Tensor, args: Any, kwargs: Any) -> bool:
    """Whether batch normalisation does not look at other numbers of a row."""
    training = _arguments(args, kwargs, *"input running_mean running_var weight bias training".split())[-1]
    return x.ndim == 2 or not training


def _tensors(nested: Any) -> list[Tensor]:
    return [t for t in tree_leaves(nested) if isinstance(t, Tensor)]


def _clone(nested: Any) -> Any:
    return tree_map(lambda t: t.clone() if isinstance(t, Tensor) else t, nested)


def _memory(t: Tensor) -> int:
    return t.untyped_storage()._cdata


def _name_of(argument: Any) -> Any:
    return id(argument) if isinstance(argument, Tensor) else repr(argument)

"""What a module does that its own class does not say: hooks, methods of a subclass, other norms.

A form that is derived from the parts of a network (a stream, C, ONNX, NIR, a description, a count)
reads their weights and steps; it does not call them. Here is the one place that says what such a
reading would miss. A stream calls the part itself then; every other form refuses by name
(`check_plain`). What torch computes into a weight is no such thing: a parametrization is read
through, and what pruning, weight_norm and spectral_norm write before each call is written before it
is read (`settle`).
"""

from __future__ import annotations

import copy
import inspect
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from srnn._check import ConfigError, check_instance

_M = TypeVar("_M", bound=nn.Module)

_SETTLED = (BasePruningMethod, WeightNorm, SpectralNorm)
"""Hooks of torch that write a weight before each call, and do nothing else."""
_READ = {"__init__", "start", "extra_repr", "reset_parameters", "_who"}
"""Methods that a subclass may have of its own: the forms call them, or have no use for them."""
_KNOWN = {"norm": (nn.BatchNorm1d, nn.LayerNorm), "conv": (nn.Conv1d,), "linear": (nn.Linear,)}
"""What a part may hold under these names."""


def departures(module: nn.Module, path: str = "") -> list[str]:
    """Return what a module and those in it do that a reading of their weights and steps would miss,
    one sentence each, without its full stop.
    """
    found = []
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        found.append("torch has a forward hook for every module")
    for name, inner in module.named_modules(prefix=path):
        found += own_departures(inner, name)
    return found


def own_departures(inner: nn.Module, name: str = "") -> list[str]:
    """Return the `departures` of a module without those of what it holds."""
    found, who = [], f"{name or 'the network'} ({type(inner).__name__})"
    pre = [h for h in inner._forward_pre_hooks.values() if not isinstance(h, _SETTLED)]
    found += [f"{who} has a forward pre-hook"] * bool(pre)
    found += [f"{who} has a forward hook"] * bool(inner._forward_hooks)
    found += [f"{who} has {method} of its own" for method in sorted(_own(inner))]
    for held, kinds in _KNOWN.items():
        part = inner._modules.get(held)
        if part is None or not any(map(_ours, type(inner).__mro__)):
            continue
        if _class(part) not in kinds:
            found.append(f"{who} has a {held} of another kind, {type(part).__name__}")
        elif held == "norm" and any(
            getattr(part, k, 0) is None for k in ("weight", "bias", "running_mean")
        ):
            found.append(f"{who} has a norm without weights or without running statistics")
    return found


def check_plain(who: str, net: nn.Module, *, computed: bool = True) -> None:
    """Raise `ConfigError` where a network does something that a form read from its parts would
    miss; weights that torch computes before each call are then those of now.

    computed: weights may be computed from other parameters.
    """
    check_instance(who, "net", net, nn.Module, "a network such as srnn.Stack(…)")
    settle(net)
    found = departures(net)
    if not computed:
        found += [
            f"{name or 'the network'} ({type(m).__name__}) has weights that torch computes from "
            "others (a parametrization, pruning)"
            for name, m in net.named_modules()
            if "parametrizations" in m._modules
            or any(isinstance(h, _SETTLED) for h in m._forward_pre_hooks.values())
        ]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ConfigError(
            f"{who}: {found[0]}{more}, which is seen only where the network itself runs. Take it "
            "away, write it as a neuron or as a part of your own, or run the network itself."
        )


@torch.no_grad()
def settle(net: nn.Module) -> None:
    """Let weights that torch computes before each call be what the parameters give now."""
    for module in net.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):  # without a step of its power iteration
                setattr(module, hook.name, hook.compute_weight(module, False))
            elif isinstance(hook, _SETTLED):
                hook(module, ())


def copied(net: _M) -> _M:
    """Return a copy of a network, its hooks and parametrizations included; `copy.deepcopy` cannot
    copy a weight that torch computes before each call.

    Raises `ConfigError` where a method was set on an object: it would go on with the object it was
    made for.
    """
    settle(net)
    for name, module in net.named_modules():
        if shadowed := _shadowed(module):
            raise ConfigError(
                f"{name or 'the network'} ({type(module).__name__}): {min(shadowed)} was set on "
                "the object, so that a copy would still run the old one. Make it a method of a "
                "subclass, or a hook."
            )
    computed = {
        id(v): v.detach().clone()
        for module in net.modules()
        for v in vars(module).values()
        if isinstance(v, Tensor) and not v.is_leaf
    }
    return copy.deepcopy(net, computed)


def _own(module: nn.Module) -> set[str]:
    """Return the methods that stand in the place of one of this package's class."""
    classes = type(module).__mro__
    ours = next((k for k, c in enumerate(classes) if _ours(c)), None)
    found = _shadowed(module)
    if ours is None:
        return found
    theirs = {name for c in classes[ours:] if _ours(c) for name in _methods(c)}
    theirs |= {"__call__", "_call_impl"}
    return found | ({n for c in classes[:ours] for n in vars(c)} & theirs) - _READ


def _shadowed(module: nn.Module) -> set[str]:
    """Return the methods of a module's class that were set on the object itself."""
    return {
        name
        for name, value in vars(module).items()
        if callable(value) and inspect.isroutine(getattr(type(module), name, None))
    } - _READ


def _methods(kind: type) -> list[str]:
    # the contract of a part is there to be filled in
    if kind.__name__ == "Part":
        return []
    return [n for n, v in vars(kind).items() if inspect.isfunction(v) or isinstance(v, property)]


def _ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "srnn"


def _class(module: nn.Module) -> type:
    """Return the class of a module; of a parametrized one, the class that it had before."""
    kind = type(module)
    return kind.__mro__[1] if "parametrizations" in module._modules else kind

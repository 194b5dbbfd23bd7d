"""Architectures of other installed packages, by the entry point group ``emres.architectures``.

What a net must be, to be cut into blocks as ours are:

* an ``nn.Module`` that its constructor makes of named integers alone (a bundle's contract holds them);
* ``multiple``: every side of a box divides by it, and boxes start on multiples of it;
* ``receptive_radius``: voxels from an answer to the farthest voxel that it depends on;
* called with (batch, 1, z, y, x) density and margins, three of (int, int): it answers (batch, 1 or 2, z, y, x) without
  the margins, voxels of context before and after along z, y, x; with no margins given there are none;
* nothing in it looks at a whole box: no instance normalisation, no ``align_corners``.

A net with ``conditioned = True`` is also told of the whole map: ``condition=``, see :mod:`emres.model.condition`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from emres.errors import ModelError
from emres.model.condition import LENGTH
from emres.plugins import ARCHITECTURES, Plugin, only_plugin


def plugged_net(architecture: str, arguments: dict[str, int]) -> nn.Module | None:
    """Construct an architecture that another package brings, with fresh weights; None if no package brings it.

    This executes the code of the package that was installed. A bundle can only name an architecture: on a machine where
    nobody installed such a package it opens nothing and executes nothing.

    Raises
    ------
    ModelError
        If the package is broken, takes no such arguments, or what it makes is no net that can be cut into blocks.
    """
    plugin = only_plugin(ARCHITECTURES, architecture)
    if plugin is None:
        return None
    constructor = plugin.load()
    if not callable(constructor):
        raise plugin.broken(f"a {type(constructor).__name__}", "a class of nets, or a function that makes one")
    net = plugin.run(constructor, **arguments)
    _check(plugin, net)
    return net  # type: ignore[no-any-return]


def _check(plugin: Plugin, net: Any) -> None:
    """Raise unless it is a net as ours are: by what it says of itself, and by one small box with a margin."""
    if not isinstance(net, nn.Module):
        raise plugin.broken(f"a {type(net).__name__}", "an nn.Module")
    if next(net.parameters(), None) is None:
        raise plugin.broken("a net without parameters", "weights to load")
    for name, least in (("multiple", 1), ("receptive_radius", 0)):
        value = getattr(net, name, None)
        if type(value) is not int or value < least:
            raise plugin.broken(f"{name} {value!r}", f"a whole number, {least} or more")
    _check_answer(plugin, net, int(net.multiple), bool(getattr(net, "conditioned", False)))  # type: ignore[arg-type]


def _check_answer(plugin: Plugin, net: nn.Module, multiple: int, conditioned: bool) -> None:
    told = {"condition": torch.zeros(1, LENGTH + 1)} if conditioned else {}
    box = torch.zeros(1, 1, 2 * multiple, multiple, multiple)
    training = net.training
    with torch.inference_mode():
        answer = plugin.run(net.eval(), box, ((multiple, 0), (0, 0), (0, 0)), **told)
    net.train(training)
    wanted = (1, 2 if conditioned else 1, *(multiple,) * 3)
    if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != wanted:
        got = f"shape {tuple(answer.shape)}" if isinstance(answer, torch.Tensor) else f"a {type(answer).__name__}"
        raise plugin.broken(f"{got} for a box of {tuple(box.shape)} of which {multiple} planes are margin", f"{wanted}")


def unknown(architecture: str, known: list[str]) -> ModelError:
    """Return the error for an architecture that nobody knows."""
    return ModelError(
        "unknown architecture",
        got=architecture,
        expected=" or ".join(known),
        cure="upgrade emres, or install the package that brings this architecture",
    )

"""Weights of the predecessor's nets (``.pth``) -> a bundle. Nothing in the file is executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from emres.errors import ModelError
from emres.model.bundle import build_net, save_bundle
from emres.model.contract import ANGSTROM, MIN_MAX, Contract
from emres.model.legacy import CUBE

_CARD = """# {name}

Weights of the predecessor of emres, imported from `{file}`: a 3D U-Net ({kind}) trained on ResMap's answers.
It reads cubes of 16^3 voxels of the map as it is sampled, each by itself, scaled to 0..1, and knows no voxel size. Its
answers follow ResMap's definition, not that of a local FSC. emres has measured none of its errors.
"""


def convert_legacy(weights: Path | str, folder: Path | str, name: str, version: str = "1") -> Contract:
    """Write a bundle from the predecessor's weights.

    Parameters
    ----------
    weights : path
        A ``.pth`` that holds the net's state.
    folder : path
        Of the bundle; made if missing.
    name, version : str
        Under which predictions are kept.

    Returns
    -------
    Contract

    Raises
    ------
    ModelError
        If the file holds anything but the weights of such a net.
    """
    state = _read_state(Path(weights))
    arguments = _arguments(state, weights)
    net = build_net("legacy_unet", arguments)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise _not_legacy(weights, str(error).split("\n")[-1].strip()) from error
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise ModelError(f"{weights} holds weights that are not finite", cure="train or download them again")
    contract = Contract(
        name=name, version=version, architecture="legacy_unet", arguments=arguments, voxel_size=1.0, octaves=0,
        multiple=CUBE, halo=0, valid_range=(1.0, 100.0), bytes_per_voxel=16, normalisation=MIN_MAX, output=ANGSTROM,
        cube=CUBE, training={"imported from": Path(weights).name, "targets": "ResMap"},
    )  # fmt: skip
    kind = "batch normalisation" if arguments["batchnorm"] else "dropout"
    return save_bundle(folder, net, contract, _CARD.format(name=name, file=Path(weights).name, kind=kind))


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})", cure="give a .pth file") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} holds no plain weights",
            expected="a state_dict saved by torch.save",
            cure="save model.state_dict(), not the model",
        ) from error
    if isinstance(state, nn.Module) or not isinstance(state, dict):
        raise _not_legacy(path, f"a {type(state).__name__}")
    state = {str(key).removeprefix("module."): value for key, value in state.items()}  # DataParallel puts that before
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise _not_legacy(path, "more than tensors")
    return state


def _arguments(state: dict[str, Tensor], path: Path | str) -> dict[str, int]:
    first = state.get("conv1_1.0.weight")
    if first is None or first.ndim != 5:
        raise _not_legacy(path, ", ".join(list(state)[:3]) or "nothing")
    return {"batchnorm": int("conv1_2.2.running_mean" in state), "filters": int(first.shape[0])}


def _not_legacy(path: Path | str, got: str) -> ModelError:
    return ModelError(
        f"{path} does not hold the weights of the predecessor's net",
        got=got,
        expected="conv1_1.0.weight … deconv1_2.4.bias",
        cure="bundles of emres need no import",
    )

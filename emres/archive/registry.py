"""Model name -> folder of its bundle: one's own, those that ship with emres, those that other packages bring."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from emres.archive.attributes import check_name
from emres.errors import ModelError, UsageError
from emres.plugins import MODELS, Plugin, only_plugin, plugins

DEFAULT_MODEL = "emres-small"

#: Where the predecessor's weights were published: name of the model -> (id on Google Drive, name of the file).
PUBLISHED = {
    "legacy-dropout": ("1-Imt4lolu-dMMsNItYgLV8GFDKDGUCr0", "unet_3d_trained_dropout.pth"),
    "legacy-batchnorm": ("1XGV2X9DHW3JqTXuyi4OBGCwrQrtfcOfe", "unet_3d_trained_batchnorm.pth"),
}

_CONTRACT = "contract.json"


@dataclass(frozen=True)
class Known:
    """A model that can be named.

    Parameters
    ----------
    name : str
    source : str
        ``ships with emres``, ``own`` or ``package their-nets 1.2``.
    folder : Path, optional
        Of its bundle; None where a package is broken.
    problem : str, optional
        Why it cannot be used by this name.
    """

    name: str
    source: str
    folder: Path | None
    problem: str | None = None


def models_folder() -> Path:
    """Return where models of one's own are kept: ``$EMRES_MODELS``, else ``~/.local/share/emres/models``."""
    given = os.environ.get("EMRES_MODELS")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(given) if given else data / "emres" / "models"


def own_models() -> list[str]:
    """Return the names of the models that were imported on this machine."""
    return sorted(path.parent.name for path in models_folder().glob(f"*/{_CONTRACT}"))


def own_model(name: str) -> Path:
    """Return the folder of a model of one's own; it need not exist yet.

    ``legacy:dropout`` is a way to write ``legacy-dropout``.

    Raises
    ------
    UsageError
        If the name could leave its folder, or is that of a model that ships with emres.
    """
    name = check_name(name.replace(":", "-"), "name of a model")
    if name in embedded_models():
        raise UsageError(f"{name} ships with emres", cure="choose another name")
    return models_folder() / name


def embedded_models() -> list[str]:
    """Return the names of the models that ship with emres.

    Examples
    --------
    >>> "emres-small" in embedded_models()
    True
    """
    return sorted(folder.name for folder in _weights_folder().iterdir() if (folder / _CONTRACT).is_file())


def plugged_model(plugin: Plugin) -> Path:
    """Return the folder of a model that another package brings; this executes that package's code.

    Parameters
    ----------
    plugin : Plugin
        Of the group ``emres.models``; its object is the absolute path of a bundle's folder, or a function without
        arguments that returns one.

    Raises
    ------
    ModelError
        If the package is broken, or there is no bundle where it says.
    """
    found = plugin.load()
    if callable(found):
        found = plugin.run(found)
    if not isinstance(found, str | os.PathLike) or not Path(found).is_absolute():
        got = str(found) if isinstance(found, str | os.PathLike) else f"a {type(found).__name__}"
        raise plugin.broken(got, "the absolute path of a bundle's folder, or a function that returns it")
    if not (Path(found) / _CONTRACT).is_file():
        raise plugin.broken(f"no {_CONTRACT} in {found}", "the folder of a bundle")
    return Path(found)


def known_models() -> list[Known]:
    """Return every model that has a name: those of emres, one's own, those of other packages, whose code it executes.

    A model of one's own wins over one of emres, that over one of a package: where a name is taken, ``problem`` says so.
    A package that is broken is told in ``problem``, and is no trouble to the others.
    """
    own, shipped = own_models(), embedded_models()
    taken = "a model of your own has this name and wins; give the folder"
    found = [
        Known(name, "ships with emres", _weights_folder() / name, taken if name in own else None) for name in shipped
    ]
    found += [Known(name, "own", models_folder() / name) for name in own]
    others = plugins(MODELS)
    return found + [_known(plugin, [*own, *shipped], others) for plugin in others]


def _known(plugin: Plugin, taken: list[str], others: list[Plugin]) -> Known:
    source = f"package {plugin.package}"
    try:
        folder = plugged_model(plugin)
    except ModelError as error:
        return Known(plugin.name, source, None, str(error))
    problem = None
    if _plain(plugin.name) in taken:
        problem = f"{source} brings this name too, but the other model wins; give the folder {folder}"
    elif sum(other.name == plugin.name for other in others) > 1:
        problem = f"several packages bring this name, {source} among them; give the folder {folder}"
    return Known(plugin.name, source, folder, problem)


def find_model(name_or_path: str | Path = DEFAULT_MODEL) -> Path:
    """Return the folder of a model, given by name or by path.

    Parameters
    ----------
    name_or_path : str or path
        The name of a model of one's own, ``emres-small``, a folder that holds a bundle, or the name of a model that
        another package brings (entry point group ``emres.models``): the first of these that there is.
        ``./emres-small`` means the folder.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If it is none of them; the sentence says which there are, or how to get it.
    ModelError
        If the package that brings it is broken, or several do.
    """
    name = str(name_or_path)
    if os.sep not in name:
        if _plain(name) in own_models():
            return models_folder() / _plain(name)
        if name in embedded_models():
            return _weights_folder() / name
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    plugin = only_plugin(MODELS, name)
    if plugin is not None:
        return plugged_model(plugin)
    raise _unknown(name)


def published_name(name: str) -> str:
    """Return ``legacy:dropout`` for ``legacy-dropout``, as the predecessor's nets are written.

    Examples
    --------
    >>> published_name("legacy-dropout")
    'legacy:dropout'
    """
    return _plain(name).replace("-", ":", 1)


def _unknown(name: str) -> UsageError:
    if _plain(name) in PUBLISHED:
        name = published_name(name)
        return UsageError(f"the weights of {name} are not on this machine", cure=f"run: emres models fetch {name}")
    known = dict.fromkeys([*embedded_models(), *own_models(), *(plugin.name for plugin in plugins(MODELS))])
    return UsageError(
        "unknown model",
        got=name,
        expected=" or ".join(known),
        cure="give one of these names, or the folder of a bundle",
    )


def _plain(name: str) -> str:
    return name.replace(":", "-")


def _weights_folder() -> Path:
    # The package is always installed as plain files (torch could not map weights from inside a zip anyway).
    return Path(str(files("emres") / "model" / "weights"))

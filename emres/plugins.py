"""What other installed packages bring: objects that they name in their entry points.

Looking executes nothing; :meth:`Plugin.load` imports, and so executes, the package that was installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emres.errors import ModelError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

MODELS, ARCHITECTURES = "emres.models", "emres.architectures"


@dataclass(frozen=True)
class Plugin:
    """An entry point of another package.

    Parameters
    ----------
    name : str
    package : str
        ``their-nets 1.2``.
    point : EntryPoint
    """

    name: str
    package: str
    point: EntryPoint

    def load(self) -> Any:
        """Return the object that the entry point names.

        Raises
        ------
        ModelError
            If the package cannot be imported or has no such object.
        """
        return self.run(self.point.load)

    def run(self, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call a function of the package.

        Raises
        ------
        ModelError
            Whatever it raises.
        """
        try:
            return function(*arguments, **named)
        except (Exception, SystemExit) as error:
            told = str(error).strip().split("\n")[0]
            raise self.broken(f"{type(error).__name__}: {told}" if told else type(error).__name__) from error

    def broken(self, got: str, expected: str | None = None) -> ModelError:
        """Return the error that tells what is wrong with it."""
        return ModelError(
            f"{self.name} of the package {self.package} is broken ({self.point.value})",
            got=got,
            expected=expected,
            cure="update or uninstall the package",
        )


def plugins(group: str, name: str | None = None) -> list[Plugin]:
    """Return the entry points of a group in all installed packages, sorted by name.

    Parameters
    ----------
    group : str
        ``emres.models`` or ``emres.architectures``.
    name : str, optional
        Those of this name alone.
    """
    from importlib import metadata  # takes as long to load as all of `import emres`

    found, seen = [], set()
    for distribution in metadata.distributions():
        try:
            package, points = distribution.name.lower().replace("_", "-"), distribution.entry_points
            version = distribution.version
        except Exception:  # one damaged installation of any package must not cost us the others
            continue
        if package not in seen:  # the first on sys.path is the one that is imported
            seen.add(package)
            wanted = [point for point in points if point.group == group and name in (None, point.name)]
            found += [Plugin(point.name, f"{package} {version}", point) for point in wanted]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


def only_plugin(group: str, name: str) -> Plugin | None:
    """Return the plugin of this name, or None if no package brings one.

    Raises
    ------
    ModelError
        If several do.
    """
    found = plugins(group, name)
    if len(found) > 1:
        raise ModelError(
            f"several packages bring {name}",
            got=" and ".join(plugin.package for plugin in found),
            expected="one",
            cure="uninstall the others",
        )
    return found[0] if found else None

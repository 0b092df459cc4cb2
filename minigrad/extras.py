"""Optional packages, imported on first use; one that is missing is named with the command that installs it."""

import importlib
from types import ModuleType


def require(module: str, package: str | None = None, purpose: str | None = None) -> ModuleType:
    """The imported `module`, which `package` (unless given, of the same name) installs and `purpose` needs.

    Raises: ModuleNotFoundError when it is not installed, with the command that installs it. An error inside an
    installed module passes through: installing again would not mend it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module}.".startswith(f"{error.name}."):
            raise
        package = package or module.partition(".")[0]
        need = f"{purpose} needs" if purpose else "need"
        message = f'{need} {package}, which is not installed: python -m pip install "{package}"'
        raise ModuleNotFoundError(message, name=error.name) from error

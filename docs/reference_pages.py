"""A Sphinx extension: pages of the public modules, from their `__all__` and docstrings.

It warns, and with `sphinx -W` fails, where a public name has no docstring or no entry, and where a name in backquotes
that should be a link leads nowhere.
"""

import importlib
import inspect
import itertools
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

log = logging.getLogger(__name__)


def public_names(module: ModuleType) -> dict[str, Any]:
    """What a module exports, but for the modules in it, which have pages of their own."""
    values = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in values.items() if not isinstance(value, ModuleType)}


class Reference:
    """The public names by module, their pages, and the links to them."""

    def __init__(self, modules: list[str], parts: dict[str, str]):
        self.names = {module: public_names(importlib.import_module(module)) for module in modules}
        self.parts = parts
        self.classes = {value for names in self.names.values() for value in names.values() if isinstance(value, type)}
        self.short = {module.rpartition(".")[2]: module for module in modules}
        self.short |= {"mg": "minigrad", "F": "minigrad.functional"}

    def write(self, folder: Path) -> None:
        """Write the pages into a folder of their own."""
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.rst"):
            if path.stem not in self.names:
                path.unlink()
        for module in self.names:
            path, text = folder / f"{module}.rst", self.page(module)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def page(self, module: str) -> str:
        """A module's docstring, and its names part by part, in the order of the source."""
        entries: dict[str, list[tuple[str, int, str]]] = {}
        for name, value in self.names[module].items():
            home = home_of(module, name, value)
            part = home.removeprefix(module).strip(".").partition(".")[0]
            entries.setdefault(part, []).append((home, line_of(value), self.entry(module, name, value)))
        order = ["", *self.parts]
        lines = [heading(module, "="), f".. automodule:: {module}\n"]
        for part in sorted(entries, key=lambda part: (order.index(part) if part in order else len(order), part)):
            if part and len(entries) > 1:
                lines.append(heading(self.parts.get(part, part.capitalize()), "-"))
            lines += [text for *_, text in sorted(entries[part])]
        return "\n".join(lines)

    def entry(self, module: str, name: str, value: Any) -> str:
        """What Sphinx describes a name by."""
        path = f"{module}::{name}"
        if isinstance(value, type):
            check_methods(value)
            kind = "exception" if issubclass(value, BaseException) else "class"
            others = [base.__name__ for base in itertools.dropwhile(self.is_part, value.__mro__[1:])]
            text = f".. auto{kind}:: {path}\n   :members:\n   :inherited-members: {', '.join(others)}\n"
        elif callable(value):
            methods = [] if isinstance(value, FunctionType) or type(value) in self.classes else vars(type(value))
            shown = [f".. automethod:: {path}.{method}\n" for method in methods if not method.startswith("_")]
            text = "\n".join([f".. autofunction:: {path}\n", *shown])
        else:
            body = [f"   {line}" for line in typeset(string_below(name, value))]
            return "\n".join([f".. py:data:: {name}", f"   :module: {module}", *body, ""])
        if not value.__doc__:
            log.warning("%s has no docstring", path)
        return text

    def is_part(self, base: type) -> bool:
        """Whether a class is there to be inherited from only: what it has is told of its heirs."""
        ours = base.__module__.startswith("minigrad") and base not in self.classes
        return ours and (base.__name__.startswith("_") or not self.classes.intersection(base.__mro__))

    def link(self, app: Sphinx, doctree: nodes.document) -> None:
        """Make links of names in code: `mg.grad`, `F.conv2d(...)`, and of what the module that is told of exports."""
        for literal in list(doctree.findall(nodes.literal)):
            name = re.fullmatch(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?", literal.astext())
            target = self.target(name[1], literal, app.env.docname) if name else None
            if target:
                link = addnodes.pending_xref("", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=target)
                link.attributes |= {"refdoc": app.env.docname, "refexplicit": True, "refwarn": True}
                link.source, link.line = literal.source, literal.line
                literal.replace_self(link)

    def target(self, name: str, literal: nodes.literal, page: str) -> str | None:
        """The full name that is meant, None for what is no link, such as a parameter of what is told of."""
        head, _, rest = name.partition(".")
        if rest and head in self.short:
            return f"{self.short[head]}.{rest}"
        own, told = page.removeprefix("reference/"), literal.parent
        while told is not None and not isinstance(told, addnodes.desc):
            told = told.parent
        parameters = told[0].findall(addnodes.desc_parameter) if told is not None else ()
        if own not in self.names or head in (node.astext().partition("=")[0] for node in parameters):
            return None
        homes = [module for module in (own, *self.names) if head in self.names.get(module, ())]
        is_meant = homes and (homes[0] == own or head[0].isupper())
        return f"{homes[0]}.{name}" if is_meant else None

    def check(self, app: Sphinx, env: Any) -> None:
        """Warn of names without an entry."""
        found = env.get_domain("py").objects
        for module, names in self.names.items():
            for name in names:
                if f"{module}.{name}" not in found:
                    log.warning("%s.%s is not in the reference", module, name)


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def home_of(module: str, name: str, value: Any) -> str:
    """Where a value of a module is defined; where it does not know, whichever module below has it."""
    home = getattr(value, "__module__", None) or module
    below = (m for m, other in sorted(sys.modules.items()) if m.startswith(f"{module}.") and name in vars(other))
    return next(below, home) if home == module else home


def line_of(value: Any) -> int:
    try:
        return inspect.getsourcelines(inspect.unwrap(value))[1]
    except (TypeError, OSError):  # neither a function nor a class, or a function that another one made
        return 0


def check_methods(kind: type) -> None:
    """Warn of a method that neither has nor inherits a docstring; what `forward` computes, its class says."""
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else value
        is_told = name.startswith("_") or name == "forward" or inspect.getdoc(getattr(kind, name))
        if inspect.isfunction(function) and not is_told:
            log.warning("%s.%s has no docstring", kind.__name__, name)


def string_below(name: str, value: Any) -> list[str]:
    """The string below the assignment of a value that cannot have a docstring of its own."""
    for home, module in list(sys.modules.items()):
        if home.startswith("minigrad") and vars(module).get(name) is value:
            found = ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name))
            if found:
                return found
    log.warning("%s has no docstring", name)
    return []


def typeset(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText: formulas and labelled lines stand apart, all else is plain text and code."""
    done: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = paragraph.split("\n")
        done.append("")
        if rows[0].startswith((">>> ", "    ")):
            done += [".. code-block:: python", "", *(f"    {row}" for row in rows)]
            continue
        pieces = re.split(r"(?:^|(?<=[.;])\s|\n)(Shapes|Units|Raises|Source): ", paragraph)
        done += prose(pieces[0])
        done += [f":{label}: {plain(text)}" for label, text in zip(pieces[1::2], pieces[2::2], strict=True)]
    return done


def prose(text: str) -> list[str]:
    """Paragraphs, items of lists, and formulas `y[...] = ...` or `p <- ...`, alone or after a colon."""
    done = []
    items = re.split(r"\n(?=- )", text)
    for item in items:
        formula = re.search(r"(?:^|:\s)([a-z](?:\[[^]]*\])? (?:=|<-) [^`]*)$", item)
        if item.startswith("- ") and len(items) > 1:
            done.append("- " + plain(item[2:]))
        elif formula:
            done += ["", plain(item[: formula.start(1)]), "", ".. rst-class:: formula", "", plain(formula[1]), ""]
        elif item:
            done += ["", plain(item), ""]
    return done


def plain(text: str) -> str:
    """Text in which nothing but backquotes is markup."""
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()))
    pieces[::2] = [re.sub(r"([*|_\\])", r"\\\1", piece) for piece in pieces[::2]]
    pieces[1::2] = [rf"\ ``{piece}``\ " for piece in pieces[1::2]]
    return rf"\ {''.join(pieces)}"


def trim(app: Sphinx, doctree: nodes.document) -> None:
    """Take away the empty line that doctest needs at the end of what is printed."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.astext().rstrip()  # a block that differs from its source is not highlighted
        block[:] = [nodes.Text(block.rawsource)]


def setup(app: Sphinx) -> None:
    app.add_config_value("public_modules", [], "env")
    app.add_config_value("parts", {}, "env")

    def start(app: Sphinx, config: Any) -> None:
        reference = Reference(config.public_modules, config.parts)
        app.connect("builder-inited", lambda app: reference.write(Path(app.srcdir, "reference")))
        app.connect("doctree-read", reference.link)
        app.connect("env-check-consistency", reference.check)

    def rewrite(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        lines[:] = typeset(lines)

    app.connect("config-inited", start)
    app.connect("doctree-read", trim)
    app.connect("autodoc-process-docstring", rewrite)

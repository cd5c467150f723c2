"""The catalogue of node types: one file each, found by folder or entry point, loaded when first asked for.

A type is known by its file's name: ``nodes/modbus_in.py`` is ``modbus-in``. A broken file is a problem of that
type, never a crash of the program.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.errors import FlowrunnerError
from flowrunner.node import Node, NodeOptions, Queue, RetryPolicy
from flowrunner.reading import read_regular
from flowrunner.schema import Form, KeyTemplate, schema_of
from flowrunner.schema.walk import Schema

ENTRY_POINTS = "flowrunner.nodes"
ENVIRONMENT = "FLOWRUNNER_NODES"
"""Environment variable with further folders of node files, separated as PATH is."""


class Envelope(NodeOptions):
    """What every node of a flow may say, whatever its type."""

    type: Annotated[str, Meta(description="The node type; `flowrunner nodes` lists them.")]
    from_: Annotated[
        str | list[str] | None,
        Meta(description="Where messages come from: a node id, id.port, flow/id, or a list of these."),
    ] = msgspec.field(name="from", default=None)
    enabled: Annotated[bool, Meta(description="false: the node is as if it were not there.")] = True
    key: Annotated[
        KeyTemplate,
        Meta(description="The entity that messages of this node are about; text with {field} places."),
    ] = ""
    queue: Annotated[Queue | None, Meta(description="The node's inbox.")] = None
    retry: Annotated[RetryPolicy | None, Meta(description="Back-off of reconnects and restarts.")] = None
    note: Annotated[str, Meta(description="A remark for readers; it does nothing.")] = ""


class BrokenType(FlowrunnerError):
    """A node file that cannot be loaded; the text says where and why."""


class NodeType(msgspec.Struct, frozen=True, eq=False):
    """One loaded type."""

    name: str
    cls: type[Node]
    file: Path
    code_hash: str
    """Content hash of the file: a reload sees changed code."""
    form: Form
    """The strict schema of a node of this type, envelope and options in one map."""

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return self.doc.partition("\n")[0]

    @property
    def doc(self) -> str:
        """The class's docstring for people: reST's double backquotes become single ones."""
        return doc_of(self.cls)

    def schema(self, *, editor: bool = False) -> Schema:
        """The schema of a node of this type, made anew; for checks there is ``form``."""
        return _schema(self.name, self.cls, editor)


def doc_of(cls: type[Node]) -> str:
    own = cls.__doc__ if cls.__doc__ != Node.__doc__ else ""
    return inspect.cleandoc(own or "").replace("``", "`")


def has_inbox(cls: type[Node]) -> bool:
    """Whether messages can come to it; a source has no use for a queue."""
    return cls.inputs != "none" or hasattr(cls, "process")


def _schema(name: str, cls: type[Node], editor: bool) -> Schema:
    envelope = schema_of(Envelope, editor=editor)
    options = schema_of(cls.Options, editor=editor)
    if cls.inputs == "none":
        del envelope["properties"]["from"]
    if not has_inbox(cls):
        del envelope["properties"]["queue"]
    kind = {"const": name} if editor else {"enum": [name]}
    envelope["properties"]["type"] = kind | {"description": doc_of(cls)}
    required = ["type", *options.get("required", [])]
    return envelope | {"properties": envelope["properties"] | options["properties"], "required": required}


class Registry:
    """All types by name. ``folders`` are searched in order; a type that two folders define is broken."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._files: dict[str, Path] = {}
        self._loaded: dict[str, NodeType] = {}
        self.clashes: dict[str, str] = {}
        for folder in [shipped("nodes"), *self._folders]:
            for file in node_files(folder):
                self._add(file.stem.replace("_", "-"), file)
        for entry in entry_points(group=ENTRY_POINTS):
            self._add(entry.name, _file_of(entry))

    def refreshed(self) -> Registry:
        """The same folders looked at again: a type whose file has the same content is the very same."""
        newer = Registry(self._folders)
        for name, kind in self._loaded.items():
            file = newer._files.get(name)
            if file == kind.file and _hash_of(file) == kind.code_hash:
                newer._loaded[name] = kind
        return newer

    def _add(self, name: str, file: Path) -> None:
        known = self._files.setdefault(name, file)
        if known.resolve() != file.resolve():
            self.clashes[name] = f"the type {name!r} is defined twice: {known} and {file}"

    @property
    def names(self) -> list[str]:
        return sorted(self._files)

    def get(self, name: str) -> NodeType:
        """The type; KeyError when there is none of that name, BrokenType when its file does not load."""
        if name in self.clashes:
            raise BrokenType(self.clashes[name])
        if name not in self._loaded:
            self._loaded[name] = load(name, self._files[name])
        return self._loaded[name]


def node_files(folder: Path) -> list[Path]:
    """Those of a folder, sorted; not what begins with ``_`` or, as editors and systems name their own, with ``.``."""
    return sorted(one for one in folder.glob("*.py") if one.name[0] not in "_." and not one.is_dir())


def load(name: str, file: Path) -> NodeType:
    """Load one node file as ``flowrunner.nodes.<name>``. BrokenType for whatever is wrong with it."""
    try:
        source = read_regular(file)
    except OSError as error:
        raise BrokenType(f"{file} cannot be read: {error.strerror}") from None
    module = _run(name, file, source)
    found = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Node) and cls is not Node and cls.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = f": {', '.join(cls.__name__ for cls in found)}" if found else ""
        raise BrokenType(f"{file} must define exactly one class of Node, it has {len(found) or 'none'}{names}")
    cls = found[0]
    if not hasattr(cls, "process") and not hasattr(cls, "produce") and not hasattr(cls, "handle") and not cls.manual:
        raise BrokenType(f"{file}: {cls.__name__} has neither process nor produce")
    try:
        own = {field.encode_name for field in msgspec.structs.fields(cls.Options)}
        form = Form(_schema(name, cls, editor=False))
    except Exception as error:  # Options is the user's: types that do not exist, or that options cannot have
        raise BrokenType(f"{file}: {cls.__name__}.Options: {error}") from error
    clash = own & {field.encode_name for field in msgspec.structs.fields(Envelope)}
    if clash:
        raise BrokenType(f"{file}: the option {min(clash)!r} belongs to every node; give it another name")
    taken = {"error", "status"} & set(cls.ports if isinstance(cls.ports, tuple) else ())
    if taken:
        raise BrokenType(f"{file}: every node has a port {min(taken)!r} already; give this one another name")
    cls.type = name
    return NodeType(name, cls, file, code_hash(source), form)


def code_hash(source: bytes) -> str:
    """Tells one content of a node file from another."""
    return hashlib.sha256(source).hexdigest()[:16]


def _hash_of(file: Path) -> str:
    try:
        return code_hash(read_regular(file))
    except OSError:  # loading it says why
        return ""


def _file_of(entry: EntryPoint) -> Path:
    """The file of an entry point's module; found without running it, only the packages around it are imported."""
    try:
        spec = importlib.util.find_spec(entry.module)
    except Exception:  # a package around it fails; loading the path below says that there is no file
        spec = None
    return Path(spec.origin) if spec is not None and spec.origin else Path(f"{entry.value} (entry point)")


def _run(type_name: str, file: Path, source: bytes) -> ModuleType:
    """Run what was read and hashed: a compiled file beside it may be of another content with the same time stamp."""
    name = f"flowrunner.nodes.{type_name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None:
        raise BrokenType(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # before it runs: dataclasses and type hints look there
    try:
        exec(compile(source, str(file.absolute()), "exec", dont_inherit=True), vars(module))  # noqa: S102  (node types are code)
    except BaseException as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # Ctrl-C of a person at the start; a reload runs in a thread of its own, and there is none
        raise BrokenType(_explain(error, file)) from error
    return module


def _explain(error: BaseException, file: Path) -> str:
    """``nodes/ticker.py:6: …``: the file's own line, wherever it was raised."""
    if isinstance(error, SyntaxError) and error.filename in (None, str(file.absolute())):
        return f"{file}:{error.lineno or 1}: {error.msg}"
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if Path(one.filename) == file.absolute()]
    return f"{file}:{(lines or [1])[-1] or 1}: {type(error).__name__}: {error}"


def shipped(name: str) -> Path:
    """A folder that ships with the program (``nodes``, ``schemas``, ``flows``): inside the package when it is
    installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name

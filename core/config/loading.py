"""Reading a configuration file into a plan, or into the list of everything that is wrong with it.

First the text (TOML), then each table by its model, then each module's options by the module's own, and last what
only the machine can tell: folders, files, modules that load and a chain that composes. Nothing is opened or connected.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from lamina.core.auth.settings import AuthSettings
from lamina.core.composition import make_chain
from lamina.core.config.diagnostics import ConfigurationError, Problem, Report, did_you_mean, field_names
from lamina.core.config.identity_model import IdentityTable
from lamina.core.config.locator import KeyPath, locate
from lamina.core.config.model import ServerTable, ShareTable, dialect_order, parse_listener
from lamina.core.identity.settings import IdentitySettings, conflicts
from lamina.core.plan import ModuleSpec, ServerPlan, ShareSpec
from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.module import Backend, VfsModule
from lamina.vfs_modules.order import declared, judge
from lamina.vfs_modules.substitution import check_template, fixed_part, letters_of

_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_SHARE_NAME = re.compile(r'[^\x00-\x1f"/\\\[\]:;|=,+*?<>]{1,80}')
_TABLES = ("server", "identity", "share")
_RESERVED = ("ipc$", "admin$", "global")


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file that is right: the plan it makes and what else `lamina run` needs.

    `refused`: shares that are left out of the plan, and why. `chain_names`: the modules of each share, of those too.
    """

    file: Path
    server: ServerTable
    plan: ServerPlan
    authentication: AuthSettings
    accounts: Path
    refused: Mapping[str, str] = field(default_factory=dict)
    chain_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def chains(self) -> Mapping[str, Chain]:
        """The composed chain of each share, not connected; to explain it."""
        return {name: make_chain(name, spec) for name, spec in self.plan.shares.items()}


Tolerates = Callable[[str, tuple[str, ...]], bool]
"""Whether a share whose chain names these modules may be left out because one of them cannot be loaded."""


def load(file: Path, tolerates: Tolerates | None = None) -> Configuration:
    """Read and check `file`. Raises ConfigurationError with every problem that was found.

    A share of which a module cannot be loaded is `refused` instead where `tolerates` says so, and others are left.
    """
    return parse(_read(file), file, tolerates)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError([Problem(str(file), None, "", "is not UTF-8 text")]) from error
    except OSError as error:
        raise ConfigurationError([Problem(str(file), None, "", f"cannot be read: {error.strerror}")]) from error


def parse(text: str, file: Path, tolerates: Tolerates | None = None) -> Configuration:
    """Check the text of a configuration that stands (or might) in `file`. Raises ConfigurationError. See `load`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([_syntax_problem(str(file), text, str(error))]) from error
    report = Report(str(file), locate(text))
    reader = _Reader(report, file.absolute().parent, tolerates)
    result = reader.configuration(raw, file)
    if report.problems or result is None:
        raise ConfigurationError(report.problems)
    return result


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    match = _AT_LINE.search(message)
    line = int(match[1]) if match and match[1] else text.count("\n") + 1
    return Problem(file, line, "", f"not TOML: {_AT_LINE.sub('', message)}")


class _Place(NamedTuple):
    """See `ShareSpec`."""

    path: Path
    template: str


class _Reader:
    """One reading: the report that problems go to, and the folder that relative paths start from."""

    def __init__(self, report: Report, folder: Path, tolerates: Tolerates | None = None) -> None:
        self.report = report
        self.folder = folder
        self.tolerates = tolerates

    def configuration(self, raw: Mapping[str, Any], file: Path) -> Configuration | None:
        """The whole file."""
        for key in raw.keys() - set(_TABLES):
            self.report.add((key,), "unknown table" + did_you_mean(key, _TABLES))
        server = self._model(ServerTable, raw.get("server", {}), ("server",))
        if server is not None:
            self._check_server(server)
        if server is not None:
            self._check_logon(server)
        identity = self._identity(raw.get("identity", {}), server)
        shares = self._shares(raw.get("share", {}), server)
        names = _all_chain_names(raw.get("share", {}))
        refused = self._refused(names)
        if server is None or identity is None or self.report.problems:
            return None
        shares = {name: spec for name, spec in shares.items() if name not in refused}
        accounts = self._path(str(server.accounts))
        plan = ServerPlan(server.settings(), shares, server.listeners(), self._path(str(server.state)))
        authentication = server.authentication(self.folder, identity)
        return Configuration(file, server, plan, authentication, accounts, refused, names)

    def _refused(self, names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """The shares that are left out for a module that cannot be loaded; what is wrong with them is no problem."""
        if self.tolerates is None:
            return {}
        unloadable = self.report.unloadable
        refused = {share: why for share, why in unloadable.items() if self.tolerates(share, names[share])}
        left = [problem for problem in self.report.problems if problem.share not in refused]
        if not left and len(refused) == len(names):
            return {}
        self.report.problems = left
        return refused

    def _model(self, model: type[Any], raw: object, path: KeyPath, also: Sequence[str] = ()) -> Any:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                names = [*field_names(model, item["loc"]), *(also if len(item["loc"]) == 1 else ())]
                self.report.add_error(path, item, names)
            return None

    def _path(self, text: str) -> Path:
        return Path(os.path.normpath(self.folder / Path(text).expanduser()))

    # -- [server] -----------------------------------------------------------------------------------------------

    def _check_server(self, server: ServerTable) -> None:
        if dialect_order(server.min_dialect) > dialect_order(server.max_dialect):
            message = f"{server.min_dialect} is newer than max_dialect, {server.max_dialect}"
            self.report.add(("server", "min_dialect"), message)
        if server.encryption == "required" and dialect_order(server.max_dialect) < dialect_order("3.0"):
            self.report.add(("server", "encryption"), 'cannot be "required": max_dialect is older than 3.0')
        if server.workers > 1 and find_spec("lmdb") is None:
            self.report.add(("server", "workers"), "need the package lmdb: install lamina[workers]")
        self._check_listeners(server.listen)

    def _check_logon(self, server: ServerTable) -> None:
        for keytab in server.keytab:
            if not os.access(self._path(str(keytab)), os.R_OK) or os.pathsep in str(keytab):
                self.report.add(("server", "keytab"), f"{self._path(str(keytab))} cannot be read")
        if not server.ntlm and not server.keytab:
            self.report.add(("server", "ntlm"), "nobody could log on: without NTLM there must be a keytab")

    def _check_listeners(self, listen: Sequence[str]) -> None:
        seen: set[object] = set()
        for index, text in enumerate(listen):
            try:
                listener = parse_listener(text)
            except ValueError as error:
                self.report.add(("server", "listen", index), str(error))
                continue
            if listener in seen and listener.port:
                self.report.add(("server", "listen", index), f'"{text}" is listed twice')
            seen.add(listener)

    # -- [identity] ---------------------------------------------------------------------------------------------

    def _identity(self, raw: object, server: ServerTable | None) -> IdentitySettings | None:
        table = self._model(IdentityTable, raw, ("identity",))
        if table is None:
            return None
        settings: IdentitySettings = table.settings(self._path(str(server.state)) if server is not None else Path())
        for conflict in conflicts(settings):
            self.report.add(("identity", *conflict.where), conflict.message)
        if settings.domains and server is not None and not server.keytab:
            self.report.add(("identity", "domain"), "users of domains come with tickets: [server] needs a keytab")
        return settings

    # -- [share.NAME] -------------------------------------------------------------------------------------------

    def _shares(self, raw: object, server: ServerTable | None) -> dict[str, ShareSpec]:
        if not isinstance(raw, dict):
            self.report.add(("share",), "must be tables: [share.NAME]")
            return {}
        if not raw:
            self.report.add(("share",), "there is none; add [share.NAME] with a path")
        seen: dict[str, str] = {}
        specs = {}
        for name, table in raw.items():
            self._check_share_name(name, seen)
            spec = self._share(name, table, server)
            if spec is not None:
                specs[name] = spec
        return specs

    def _check_share_name(self, name: str, seen: dict[str, str]) -> None:
        if not _SHARE_NAME.fullmatch(name) or name != name.strip():
            self.report.add(("share", name), 'is no name for a share (1 to 80 characters, none of \\/[]:|<>+=;,*?")')
        if name.lower() in _RESERVED:
            self.report.add(("share", name), "is a reserved name")
        if name.lower() in seen:
            self.report.add(("share", name), f"is the same name as {seen[name.lower()]!r}: case does not count")
        seen.setdefault(name.lower(), name)

    def _share(self, name: str, raw: object, server: ServerTable | None) -> ShareSpec | None:
        path: KeyPath = ("share", name)
        if not isinstance(raw, dict):
            self.report.add(path, "must be a table: [share.NAME]")
            return None
        modules = _chain_names(raw)
        options = {key: value for key, value in raw.items() if key in modules and key not in ShareTable.model_fields}
        plain = {key: value for key, value in raw.items() if key not in options}
        table = self._model(ShareTable, self._without_strays(plain, path, modules), path, modules)
        chain = self._chain(path, modules, options)
        if table is None:
            return None
        place = self._place(path, table.path)
        self._check_folder(path, table, place.path)
        if server is not None and server.workers > 1:
            self._check_workers(path, chain)
        if table.guest and server is not None and not server.guest:
            self.report.add((*path, "guest"), "guests are not admitted: set guest = true in [server] too")
        values = table.model_dump(exclude={"path", "chain"})
        return ShareSpec(path=place.path, template=place.template, chain=chain, **values)

    def _without_strays(self, raw: dict[str, Any], path: KeyPath, modules: Sequence[str]) -> dict[str, Any]:
        strays = [key for key, value in raw.items() if isinstance(value, dict) and key not in ShareTable.model_fields]
        for key in strays:
            hint = did_you_mean(key, modules) or f" ({', '.join(modules)})"
            self.report.add((*path, key), f"the chain has no module of this name{hint}")
        return {key: value for key, value in raw.items() if key not in strays}

    def _place(self, path: KeyPath, text: str) -> "_Place":
        """Where a share is: one folder, or where the substitutions in its path lead."""
        template = str(self._path(text))
        try:
            letters = letters_of(check_template(text))
        except ValueError as error:
            self.report.add((*path, "path"), f"{error}; a folder with % in its name is written with %%")
            return _Place(Path(), "")
        if letters and ".." in Path(text.partition("%")[2]).parts:
            self.report.add((*path, "path"), "must not have .. behind a substitution")
            return _Place(Path(), "")
        return _Place(Path(fixed_part(template)), template if letters else "")

    def _check_folder(self, path: KeyPath, table: ShareTable, folder: Path) -> None:
        if _has_backend_without_folder(table.chain):
            return
        problem = folder_problem(folder)
        if problem:
            self.report.add((*path, "path"), problem)

    # -- chain --------------------------------------------------------------------------------------------------

    def _chain(self, path: KeyPath, names: Sequence[str], options: Mapping[str, Any]) -> tuple[ModuleSpec, ...]:
        before = len(self.report.problems)
        kinds = [self._module(path, index, name, names) for index, name in enumerate(names)]
        for name, kind in zip(names, kinds, strict=True):
            if kind is not None:
                self._model(kind.Options, options.get(name, {}), (*path, name))
        judgement = judge([declared(kind, name) for name, kind in zip(names, kinds, strict=True) if kind is not None])
        if judgement.faults and len(self.report.problems) == before and names:
            self.report.add((*path, "chain"), str(judgement))
        specs = tuple(ModuleSpec(name, options.get(name, {})) for name in names)
        if len(self.report.problems) == before and specs:
            self._compose(path, specs)
        return specs

    def _check_workers(self, path: KeyPath, specs: Sequence[ModuleSpec]) -> None:
        """Whether several workers can serve a share: what each of its modules says of that."""
        try:
            chain = make_chain(str(path[-1]), ShareSpec(Path(), chain=specs))
        except Exception:  # reported where the chain is composed
            return
        for module in chain.modules:
            why = module.one_process()
            if why:
                self.report.add((*path, "chain"), f"module {module.title!r} {why}: set workers = 1 in [server]")

    def _module(self, path: KeyPath, index: int, name: str, names: Sequence[str]) -> type[VfsModule] | None:
        where: KeyPath = (*path, "chain", index)
        if name in names[:index]:
            self.report.add(where, f"module {name!r} stands in the chain twice")
            return None
        if name in ShareTable.model_fields:
            self.report.add(where, f"{name!r} is a key of a share and cannot be the name of a module")
            return None
        try:
            kind = load_module(name)
        except Exception as error:  # a module is anybody's code: whatever it does at import is reported, not raised
            self.report.add_unloadable(where, str(error))
            return None
        if issubclass(kind, Backend) != (index == len(names) - 1):
            fault = "is a backend and must stand last" if issubclass(kind, Backend) else "stands last but is no backend"
            self.report.add(where, f"module {name!r} {fault}")
        return kind

    def _compose(self, path: KeyPath, specs: Sequence[ModuleSpec]) -> None:
        try:
            make_chain(str(path[-1]), ShareSpec(Path(), chain=specs))
        except Exception as error:  # as above: building a chain runs the modules' own code
            self.report.add((*path, "chain"), str(error))


def _all_chain_names(raw: object) -> dict[str, tuple[str, ...]]:
    shares = raw if isinstance(raw, dict) else {}
    return {name: tuple(_chain_names(table)) for name, table in shares.items() if isinstance(table, dict)}


def _chain_names(raw: Mapping[str, Any]) -> list[str]:
    chain = raw.get("chain", ShareTable.model_fields["chain"].default)
    return [name for name in chain if isinstance(name, str)] if isinstance(chain, list | tuple) else []


def _has_backend_without_folder(chain: Sequence[str]) -> bool:
    """Whether the backend is not about a folder of this machine: then `path` is its own business."""
    try:
        kind = load_module(chain[-1])
    except Exception:  # reported where the chain is read
        return False
    return not getattr(kind, "kernel_files", False)


def folder_problem(folder: Path) -> str:
    """Why `folder` cannot be shared, for a person; "" if it can."""
    if not folder.exists():
        return f"there is no folder {folder}" + _near_folder(folder)
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"{folder} cannot be read by this user"
    return ""


def _near_folder(folder: Path) -> str:
    try:
        siblings = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()]
    except OSError:
        return ""
    return did_you_mean(folder.name, siblings)


__all__ = ["Configuration", "folder_problem", "load", "parse"]

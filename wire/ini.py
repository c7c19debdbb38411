"""INI sections and environment overrides to typed values, noting every fault on the way."""

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from wire.faults import Fault, SettingsError, guess
from wire.kinds import Kind

PREFIX = "FACESERVICE_"
DAEMONS = ("coordinator", "collector", "node")  # their sections start processes, so the environment cannot add them


def read_file(path: Path) -> configparser.ConfigParser:
    """Return the parsed file. Raises SettingsError when it cannot be read or is no INI file."""
    parser = configparser.ConfigParser(interpolation=None, default_section="", empty_lines_in_values=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise SettingsError([Fault(path, f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Fault(path, f"is not UTF-8 text (byte {error.start})")]) from error
    except configparser.Error as error:
        raise SettingsError([Fault(path, " ".join(error.message.split()))]) from error
    return parser


@dataclass(frozen=True, slots=True)
class Key:
    """A key as its struct declares it."""

    name: str
    kind: Kind
    default: Any  # msgspec.NODEFAULT: the key must be given


def keys_of(struct: type[msgspec.Struct]) -> dict[str, Key]:
    """Return the keys that *struct* declares: its fields that are annotated with a Kind."""
    hints = get_type_hints(struct, include_extras=True)
    keys = {}
    for field in msgspec.structs.fields(struct):
        kind = next((note for note in getattr(hints[field.name], "__metadata__", ()) if isinstance(note, Kind)), None)
        if kind is not None:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            keys[field.name] = Key(field.name, kind, default)
    return keys


def env_name(section: str) -> str:
    """Return the start of the names of a section's overrides: "node edge" -> "FACESERVICE_NODE_EDGE_"."""
    return PREFIX + re.sub(r"[^A-Za-z0-9]+", "_", section).upper() + "_"


class Reader:
    """One file's texts with the environment's in front; collects the faults it meets."""

    def __init__(
        self,
        path: Path,
        root: Path,
        parser: configparser.ConfigParser,
        environ: Mapping[str, str],
        types: Mapping[str, type[msgspec.Struct]],
    ) -> None:
        self.path, self.root, self.faults = path, root, list[Fault]()
        self._keys = {name: keys_of(struct) for name, struct in types.items()}
        self._texts = {section: dict(parser[section]) for section in parser.sections()}
        self._origin: dict[tuple[str, str], str] = {}  # (section, key) -> the variable that set it
        self._check_sections()
        self._override(environ)

    def sections(self) -> list[str]:
        """Return the sections there are, of known kinds."""
        return list(self._texts)

    def fault(self, section: str, key: str, problem: str, allowed: str = "", guess: str = "") -> None:
        """Note a fault of a key."""
        origin = self._origin.get((section, key))
        problem += f" (from {origin})" if origin else ""
        self.faults.append(Fault(self.path, problem, section, key, allowed, guess))

    def values(self, section: str) -> dict[str, Any]:
        """Return key -> value, defaults filled in; faulty keys have their default, or are missing without one."""
        keys, texts = self._keys[section.partition(" ")[0]], self._texts[section]
        for unknown in texts.keys() - keys.keys():
            self._unknown(section, unknown, keys)
        found = {name: self._value(section, key, texts.get(name, "").strip()) for name, key in keys.items()}
        return {name: value for name, value in found.items() if value is not msgspec.NODEFAULT}

    def _check_sections(self) -> None:
        names: dict[str, str] = {}
        for section in list(self._texts):
            if section not in self._keys and not re.fullmatch(r"node +[A-Za-z0-9][A-Za-z0-9_.-]*", section):
                allowed = ", ".join(f"[{name}]" for name in [*self._keys, "node NAME"])
                close = guess(section, self._keys)
                self.faults.append(Fault(self.path, "unknown section", section, "", allowed, close))
                del self._texts[section]
            elif (start := env_name(section)) in names:
                self.fault(section, "", f"has the same name as [{names[start]}] for overrides by the environment")
            else:
                names[start] = section

    def _override(self, environ: Mapping[str, str]) -> None:
        optional = [name for name in self._keys if name not in DAEMONS]
        for variable in sorted(name for name in environ if name.startswith(PREFIX)):
            for section in sorted({*self._texts, *optional}, key=len, reverse=True):
                key = variable.removeprefix(env_name(section)).lower()
                if key and variable.startswith(env_name(section)):
                    self._texts.setdefault(section, {})[key] = environ[variable]
                    self._origin[section, key] = variable
                    break

    def _value(self, section: str, key: Key, text: str) -> Any:
        if not text:
            if key.default is msgspec.NODEFAULT:
                self.fault(section, key.name, "is missing", key.kind.allowed)
            return self.root / key.default if isinstance(key.default, Path) else key.default
        try:
            return key.kind.parse(text, self.root)
        except (ValueError, KeyError):
            shown = "its value" if key.kind.secret else repr(text)
            self.fault(section, key.name, f"{shown} is wrong", key.kind.allowed)
            return key.default

    def _unknown(self, section: str, key: str, keys: Mapping[str, Key]) -> None:
        close = guess(key, keys)
        self.fault(section, key, "unknown key", "" if close else ", ".join(keys), close)

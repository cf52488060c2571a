"""How a tree of settings is checked against typed Structs, and overlaid by the environment.

msgspec stops at the first mistake; an operator wants all of them. So each value is converted by itself,
what is wrong is told and taken out of the tree, and what is left can still be checked as a whole.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Meta, Struct

__all__ = ["ENV_PREFIX", "Setting", "Verify", "check_tree", "described", "overlay", "plain", "settings_of"]

ENV_PREFIX: Final = "OUTPOST__"

# What a setting's type cannot say: of the converted value, what is allowed instead; None: it is fine.
Verify = Callable[[Any], str | None]


class Setting(Struct, frozen=True):
    """One setting as the documentation has to name it: `http.listen`, `modem[].port` ..."""

    path: str
    description: str
    want: str
    default: Any  # msgspec.NODEFAULT: has to be given


class _FromEnv(str):
    """A value that came by the environment: text, whatever the setting's type. `source`: its variable."""

    __slots__ = ("source",)
    source: str


def described(description: str, want: str, **bounds: Any) -> Meta:
    """The Meta of a setting. want: the words of an error, what is allowed."""
    return Meta(description=description, extra={"want": want}, **bounds)


def check_tree(
    struct: type[Struct], tree: Any, *, name: str, verify: Mapping[str, Verify], errors: list[str]
) -> None:
    """Tell every mistake of `tree` and take it out. name: the file's. verify: by path, as "http.listen"."""
    _Walk(name, verify, errors).struct(struct, tree, "")


def settings_of(struct: type[Struct], path: str = "") -> Iterator[Setting]:
    """Every setting of a Struct, in its order."""
    for key, (field, hint) in _fields(struct).items():
        nested, table = _struct_of(hint), _table_of(hint)
        if nested is not None:
            yield from settings_of(nested, f"{path}{key}.")
        elif table is not None:
            yield from settings_of(table, f"{path}{key}[].")
        else:
            meta = _own_meta(hint)
            assert meta is not None and meta.description, f"{path}{key} has no description"
            yield Setting(f"{path}{key}", meta.description, _want(hint), field.default)


class _Walk:
    def __init__(self, name: str, verify: Mapping[str, Verify], errors: list[str]) -> None:
        self._name, self._verify, self._errors = name, verify, errors

    def struct(self, struct: type[Struct], tree: dict[str, Any], path: str) -> None:
        fields = _fields(struct)
        for key, value in list(tree.items()):
            if key not in fields:
                shown = value.source if isinstance(value, _FromEnv) else f"{self._name}: {path}{key}"
                self._errors.append(f"{shown}: unknown; want one of {', '.join(fields)}")
                del tree[key]
            elif not self._field(fields[key][1], value, f"{path}{key}"):
                del tree[key]
        for key, (field, hint) in fields.items():
            if field.required and key not in tree and not self._told(f"{path}{key}"):
                self._errors.append(f"{self._name}: {path}{key}: missing; want {_want(hint)}")

    def _told(self, path: str) -> bool:
        return any(line.startswith(f"{self._name}: {path}: ") for line in self._errors)

    def _field(self, hint: Any, value: Any, path: str) -> bool:
        """Check one setting or group; False when it has to go."""
        nested, table = _struct_of(hint), _table_of(hint)
        if nested is not None:
            return self._group(nested, value, path)
        if table is not None:
            if not isinstance(value, list):
                self._errors.append(f"{self._name}: {path}: {value!r}; want tables, each begun by [[{path}]]")
                return False
            return all([self._group(table, item, f"{path}[{index}]") for index, item in enumerate(value)])
        return self._value(hint, value, path)

    def _group(self, struct: type[Struct], value: Any, path: str) -> bool:
        if not isinstance(value, dict):
            self._errors.append(f"{self._name}: {path}: {value!r}; want a table of settings")
            return False
        self.struct(struct, value, f"{path}.")
        return True

    def _value(self, hint: Any, value: Any, path: str) -> bool:
        from_env = isinstance(value, _FromEnv) or (
            isinstance(value, list) and any(isinstance(item, _FromEnv) for item in value)
        )
        try:
            converted = msgspec.convert(value, hint, strict=not from_env)
        except msgspec.ValidationError:
            want: str | None = _want(hint)
        else:
            verify = self._verify.get(path)
            want = verify(converted) if verify is not None else None
        if want is None:
            return True
        source = value.source if isinstance(value, _FromEnv) else f"{self._name}: {path}"
        shown = "******" if path.endswith(_SECRETS) else repr(value)
        self._errors.append(f"{source}: {shown}; want {want}")
        return False


# The values of these never stand in an error, which people paste into questions.
_SECRETS: Final = (".pin", "token", "_password", "_key", "_secret", ".variables")


def _fields(struct: type[Struct]) -> dict[str, tuple[msgspec.structs.FieldInfo, Any]]:
    """Field by name: msgspec's information and the type with its Meta."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {field.name: (field, hints[field.name]) for field in msgspec.structs.fields(struct)}


def _own_meta(hint: Any) -> Meta | None:
    return next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Meta)), None)


def _want(hint: Any) -> str:
    meta = _own_meta(hint)
    return str(meta.extra["want"]) if meta is not None and meta.extra else "another kind of value"


def _struct_of(hint: Any) -> type[Struct] | None:
    return hint if isinstance(hint, type) and issubclass(hint, Struct) else None


def _table_of(hint: Any) -> type[Struct] | None:
    """The Struct in a tuple[Struct, ...], which TOML writes as [[table]]."""
    return _struct_of(typing.get_args(hint)[0]) if typing.get_origin(hint) is tuple else None


def _is_list(hint: Any) -> bool:
    return typing.get_origin(typing.get_args(hint)[0] if _own_meta(hint) else hint) is tuple


# -- the environment


def overlay(
    struct_of_all: type[Struct], tree: dict[str, Any], env: Mapping[str, str], errors: list[str]
) -> None:
    """Lay OUTPOST__A__B=value over the tree. A number in the path is an index of [[a]]."""
    for variable in sorted(v for v in env if v.startswith(ENV_PREFIX)):
        keys = variable[len(ENV_PREFIX) :].lower().split("__")
        hint: Any = struct_of_all
        node: Any = tree
        for key in keys[:-1]:
            node, hint = _step(node, hint, key)
            if node is None:
                break
        struct = _struct_of(hint)
        if node is None or not isinstance(node, dict) or struct is None or keys[-1] not in _fields(struct):
            errors.append(f"{variable}: unknown; want the name of a setting, such as OUTPOST__HTTP__LISTEN")
            continue
        leaf = _fields(struct)[keys[-1]][1]
        if _struct_of(leaf) is not None or _table_of(leaf) is not None:
            errors.append(f"{variable}: a group; want the name of a setting in it")
            continue
        node[keys[-1]] = _env_value(env[variable], variable, is_list=_is_list(leaf))


def _step(node: Any, hint: Any, key: str) -> tuple[Any, Any]:
    """One level down for one part of a variable's name; (None, None) when there is no such level."""
    table = _table_of(hint)
    if table is not None:
        if not isinstance(node, list) or not key.isdigit() or int(key) > len(node):
            return None, None
        if int(key) == len(node):  # one more [[modem]] than the file has
            node.append({})
        return node[int(key)], table
    struct = _struct_of(hint)
    if struct is None or not isinstance(node, dict) or key not in _fields(struct):
        return None, None
    below = _fields(struct)[key][1]
    empty: Any = [] if _table_of(below) is not None else {}
    return node.setdefault(key, empty), below


def plain(tree: Any) -> Any:
    """The tree without the marks of what came by the environment: it is text like all text from here on."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    return "".join(tree) if isinstance(tree, _FromEnv) else tree


def _env_value(text: str, variable: str, *, is_list: bool) -> Any:
    def marked(part: str) -> _FromEnv:
        value = _FromEnv(part)
        value.source = variable
        return value

    return [marked(p.strip()) for p in text.split(",") if p.strip()] if is_list else marked(text)

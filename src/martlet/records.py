"""`dataclass`, `field`, `replace` and `NamedTuple` of the standard library, made faster.

A process that loads a model pays for every class of every module on its way there, and a class of
the standard library's makers takes 0.25 to 1 ms on a slow processor. Here are their everyday parts
in a tenth of that; type checkers see the originals, and `dataclasses.fields` and its like work.
Classes that a first run does not meet have no need of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import NamedTuple as NamedTuple
else:
    from operator import itemgetter

    def _function(name, parameters, body, **names):
        """A function from its source; `names` are what it refers to."""
        exec(f"def {name}({', '.join(parameters)}):\n {body}", names)
        return names[name]

    def _complete(name, fields, defaults, args, kwargs):
        """The values of all fields, in order."""
        missing = len(fields) - len(args)
        if not kwargs and 0 < missing <= len(defaults):
            return (*args, *tuple(defaults.values())[-missing:])
        given = dict(zip(fields, args, strict=False))
        if len(args) > len(fields) or given.keys() & kwargs or kwargs.keys() - set(fields):
            raise TypeError(f"{name}() takes {', '.join(fields)}; got {args} and {kwargs}")
        values = {**defaults, **given, **kwargs}
        missing = [n for n in fields if n not in values]
        if missing:
            raise TypeError(f"{name}() lacks {', '.join(missing)}")
        return [values[n] for n in fields]

    class _Tuple(tuple):
        """What all named tuples share."""

        __slots__ = ()
        _fields = ()

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changes):
            values = [changes.pop(n, value) for n, value in zip(self._fields, self, strict=True)]
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return tuple.__new__(type(self), values)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__qualname__}({shown})"

    class _Making(type):
        """Turns `class Name(NamedTuple)` into a subclass of `_Tuple`."""

        def __new__(cls, name, bases, members):
            if not bases:
                return super().__new__(cls, name, bases, members)
            fields = tuple(members["__annotations__"])
            defaults = {n: members.pop(n) for n in fields if n in members}
            members |= {n: property(itemgetter(i)) for i, n in enumerate(fields)}
            members |= {"__slots__": (), "_fields": fields, "__match_args__": fields}

            def new(cls, *args, **kwargs):
                if len(args) != len(fields):
                    args = _complete(name, fields, defaults, args, kwargs)
                elif kwargs:
                    raise TypeError(f"{name}() got {next(iter(kwargs))!r} twice, or knows it not")
                return tuple.__new__(cls, args)

            members["__new__"] = new
            return type(name, (_Tuple,), members)

    class NamedTuple(metaclass=_Making):
        """The base of named tuples."""

    class _Factory:
        """A default that is made anew for each instance."""

        def __init__(self, make):
            self.make = make

    def field(*, default_factory):
        return _Factory(default_factory)

    def _repr(self):
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({shown})"

    def _values(self):
        return tuple([getattr(self, name) for name in self.__match_args__])

    def _eq(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self is other or _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _refuse(self, name, value=None):
        raise AttributeError(f"{type(self).__name__} does not change: {name}")

    class _Fields:
        """`__dataclass_fields__`, made by the standard library when somebody asks."""

        def __init__(self, cls, defaults):
            self._cls, self._defaults = cls, defaults

        def __get__(self, instance, owner=None):
            import dataclasses

            def of(name):
                default = self._defaults.get(name, dataclasses.MISSING)
                if isinstance(default, _Factory):
                    return dataclasses.field(default_factory=default.make)
                return dataclasses.field(default=default)

            kinds = self._cls.__annotations__
            fields = [(name, kinds[name], of(name)) for name in self._cls.__match_args__]
            twin = dataclasses.make_dataclass(self._cls.__name__, fields)
            self._cls.__dataclass_fields__ = twin.__dataclass_fields__
            return twin.__dataclass_fields__

    def _filler(fields, defaults, frozen, checked):
        """`__init__`. checked: call `__post_init__` at the end."""
        parameters, lines, names = ["self"], [], {"_new": _Factory}
        for name in fields:
            value = name
            if name not in defaults:
                parameters.append(name)
            elif isinstance(defaults[name], _Factory):
                names[f"_make_{name}"] = defaults[name].make
                parameters.append(f"{name}=_new")
                value = f"_make_{name}() if {name} is _new else {name}"
            else:
                names[f"_{name}"] = defaults[name]
                parameters.append(f"{name}=_{name}")
            lines.append(f"_all[{name!r}] = {value}" if frozen else f"self.{name} = {value}")
        lines = ["_all = self.__dict__"] * frozen + lines + ["self.__post_init__()"] * checked
        return _function("__init__", parameters, "\n ".join(lines), **names)

    def dataclass(cls=None, /, *, frozen=False):
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen)
        fields = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
        for name, default in defaults.items():
            if isinstance(default, _Factory):
                delattr(cls, name)

        def first(self, *args, **kwargs):
            """Make what fills instances, for this one and all that follow."""
            cls.__init__ = _filler(fields, defaults, frozen, hasattr(cls, "__post_init__"))
            cls.__init__(self, *args, **kwargs)

        cls.__init__ = first
        cls.__match_args__ = fields
        cls.__eq__ = _eq
        cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _repr
        cls.__dataclass_fields__ = _Fields(cls, defaults)
        return cls

    def replace(instance, /, **changes):
        fields = instance.__match_args__
        kept = {name: getattr(instance, name) for name in fields if name not in changes}
        return type(instance)(**kept, **changes)

"""Values that are made for every message: frozen to the type checker, and cheap to make.

Rule: for what each message costs some of; all else is a frozen dataclass. A dataclass that is frozen at run time sets
each field by a call, which took a twentieth of a relay's time.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a slotted dataclass, equal and hashed by its fields; mypy holds that nobody sets one."""
    return dataclass(slots=True, unsafe_hash=True)(cls)

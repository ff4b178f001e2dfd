"""State table of a person."""

from enum import StrEnum

from kernel.states import Move, StateTable


class Person(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class PersonEvent(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"


PERSON = StateTable(
    {
        (Person.ACTIVE, PersonEvent.SUSPEND): Move(Person.SUSPENDED),
        (Person.ACTIVE, PersonEvent.RESUME): Move(Person.ACTIVE),
        (Person.SUSPENDED, PersonEvent.SUSPEND): Move(Person.SUSPENDED),
        (Person.SUSPENDED, PersonEvent.RESUME): Move(Person.ACTIVE),
    },
    begins={Person.ACTIVE: None},
    path=[(Person.ACTIVE, PersonEvent.SUSPEND), (Person.SUSPENDED, PersonEvent.RESUME)],
)

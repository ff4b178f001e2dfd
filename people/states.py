"""State table of a person."""

from enum import StrEnum


class Person(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class PersonEvent(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"


PERSON = {
    (Person.ACTIVE, PersonEvent.SUSPEND): Person.SUSPENDED,
    (Person.ACTIVE, PersonEvent.RESUME): Person.ACTIVE,
    (Person.SUSPENDED, PersonEvent.SUSPEND): Person.SUSPENDED,
    (Person.SUSPENDED, PersonEvent.RESUME): Person.ACTIVE,
}

"""Operations on contacts and their groups."""

from __future__ import annotations

import re
import sqlite3
from typing import Annotated, Any, Final

import msgspec

from appliance.gateway.templates import Language, VariableName
from appliance.message import normalise_number
from appliance.store import contacts as ops
from appliance.store.contacts import NewContact
from appliance.web.problem import Problem, field_error
from appliance.web.v1.operation import Call, Result
from appliance.web.v1.shapes import Body, Moment, Shown, iso
from appliance.web.v1.times import parse_time

__all__ = [
    "Contact",
    "ContactList",
    "ContactsPut",
    "GroupInfo",
    "GroupList",
    "Members",
    "MembersChanged",
    "PutResult",
    "contact",
    "contacts",
    "delete_contact",
    "delete_group",
    "groups",
    "put_contacts",
    "put_group",
    "put_members",
]

GroupName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
Number = Annotated[
    str, msgspec.Meta(min_length=3, max_length=40, extra_json_schema={"format": "mobile-number"})
]
Value = Annotated[str, msgspec.Meta(max_length=160)] | int | float

Variables = Annotated[dict[VariableName, Value], msgspec.Meta(max_length=20)]


class Consent(Body):
    """How the person agreed to be written to. words: theirs. how: web form, paper, SMS ... at: when."""

    words: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    at: Moment
    how: Annotated[str, msgspec.Meta(max_length=100)] = ""


class ContactIn(Body):
    """variables: values for the places of templates. consent: left out, what is kept stays."""

    number: Number
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    language: Language | None = None
    variables: Annotated[dict[VariableName, Value], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=dict
    )
    consent: Consent | None = None


class ContactsPut(Body):
    """group: they become its members; it is made if it is new."""

    contacts: Annotated[list[ContactIn], msgspec.Meta(min_length=1, max_length=1000)]
    group: GroupName | None = None


class PutResult(Shown):
    created: int
    updated: int


class ConsentKept(Shown):
    """told_by: the key that brought it."""

    words: str
    how: str
    at: str
    told_by: str


class Contact(Shown):
    """opted_out: the person said STOP to this box, so no campaign reaches them."""

    id: str
    number: str
    name: str
    language: str
    variables: dict[str, str | int | float]
    groups: list[str]
    opted_out: bool
    consent: ConsentKept | None = None


class ContactList(Shown):
    """next: the cursor of the next page, null at the end."""

    contacts: list[Contact]
    next: str | None = None


class GroupInfo(Shown):
    name: str
    contacts: int


class GroupList(Shown):
    groups: list[GroupInfo]


class Members(Body):
    """Numbers of contacts to put into the group and to take out of it."""

    add: Annotated[list[Number], msgspec.Meta(max_length=1000)] = msgspec.field(default_factory=list)
    remove: Annotated[list[Number], msgspec.Meta(max_length=1000)] = msgspec.field(default_factory=list)


class MembersChanged(Shown):
    """unknown: numbers that are no contacts of yours."""

    contacts: int
    unknown: list[str]


async def put_contacts(call: Call) -> Result:
    """Make contacts or bring known ones up to date, all or none."""
    body: ContactsPut = call.body
    made = [_new(call, place, each) for place, each in enumerate(body.contacts)]
    client_id, actor = call.caller.client.id, f"key {call.caller.key.id}"

    def write(db: sqlite3.Connection) -> tuple[int, int]:
        now_ms = call.gateway.clock_ms()
        return ops.put_contacts(db, client_id, made, body.group or "", now_ms, actor=actor)

    created, updated = await call.gateway.store.writer.run(write)
    return Result(200, PutResult(created=created, updated=updated))


def _new(call: Call, place: int, each: ContactIn) -> NewContact:
    where = f"$.contacts[{place}]"
    consent = each.consent
    at_ms = None if consent is None else parse_time(consent.at, f"{where}.consent.at")
    return NewContact(
        number=_number(call, each.number, f"{where}.number"),
        name=each.name,
        language=each.language or "",
        variables=msgspec.json.encode(each.variables).decode(),
        consent_words="" if consent is None else consent.words,
        consent_how="" if consent is None else consent.how,
        consent_at_ms=at_ms or 0,
    )


def _number(call: Call, text: str, where: str) -> str:
    number = normalise_number(text, call.gateway.region)
    if number is None:
        raise field_error(where, "a mobile number", text[:40])
    return number


async def contacts(call: Call) -> Result:
    """The client's contacts, or those of one group, in the order they were made."""
    query = call.query
    limit = query.get("limit", 50)
    after = int(query["cursor"].removeprefix("con_")) if "cursor" in query else 0
    found = await call.gateway.store.reader.run(
        ops.contacts, call.caller.client.id, after, limit + 1, query.get("group")
    )
    shown = [_shown(each) for each in found[:limit]]
    return Result(200, ContactList(contacts=shown, next=shown[-1].id if len(found) > limit else None))


async def contact(call: Call) -> Result:
    """One contact, with the consent that is kept of it."""
    found: Any = None
    if (contact_id := _id(call)) is not None:
        found = await call.gateway.store.reader.run(ops.contact_of, call.caller.client.id, contact_id)
    if found is None:
        raise _no_contact()
    return Result(200, _shown(found))


async def delete_contact(call: Call) -> Result:
    """Forget a contact; messages to it stay as they are."""
    contact_id = _id(call)
    if contact_id is None or not await call.gateway.store.writer.run(
        ops.delete_contact, call.caller.client.id, contact_id
    ):
        raise _no_contact()
    return Result(204)


def _id(call: Call) -> int | None:
    digits = call.path["id"].removeprefix("con_")
    return int(digits) if digits.isdecimal() and len(digits) <= 18 and digits != call.path["id"] else None


def _no_contact() -> Problem:
    return Problem(404, "no-such-contact", "There is no such contact of yours.")


def _shown(found: ops.Contact) -> Contact:
    consent = None
    if found.consent_words:
        consent = ConsentKept(
            words=found.consent_words,
            how=found.consent_how,
            at=iso(found.consent_at_ms) or "",
            told_by=found.consent_by,
        )
    return Contact(
        id=f"con_{found.id}",
        number=found.number,
        name=found.name,
        language=found.language,
        variables=msgspec.json.decode(found.variables),
        groups=sorted(found.groups.split()),
        opted_out=found.opted_out,
        consent=consent,
    )


async def groups(call: Call) -> Result:
    """The client's groups by name."""
    rows = await call.gateway.store.reader.run(ops.groups, call.caller.client.id)
    return Result(200, GroupList(groups=[GroupInfo(name=name, contacts=count) for name, count in rows]))


async def put_group(call: Call) -> Result:
    """Make a group; one that exists stays as it is."""
    name = call.path["name"]
    if not _GROUP.match(name):
        raise Problem(400, "bad-name", "A name is 1 to 64 small letters, digits, '_', '.' or '-'.")

    def write(db: sqlite3.Connection) -> tuple[bool, int]:
        _, new = ops.put_group(db, call.caller.client.id, name, call.gateway.clock_ms())
        return new, dict(ops.groups(db, call.caller.client.id))[name]

    new, count = await call.gateway.store.writer.run(write)
    return Result(201 if new else 200, GroupInfo(name=name, contacts=count))


async def put_members(call: Call) -> Result:
    """Put contacts into a group and take others out."""
    body: Members = call.body
    add = [_number(call, each, f"$.add[{place}]") for place, each in enumerate(body.add)]
    remove = [_number(call, each, f"$.remove[{place}]") for place, each in enumerate(body.remove)]
    done = await call.gateway.store.writer.run(
        ops.change_members, call.caller.client.id, call.path["name"], add, remove
    )
    if done is None:
        raise Problem(404, "no-such-group", "There is no such group of yours.")
    return Result(200, MembersChanged(contacts=done[0], unknown=done[1]))


async def delete_group(call: Call) -> Result:
    """End a group; its contacts stay, and campaigns to it that have not ended are cancelled."""
    done = await call.gateway.store.writer.run(
        ops.delete_group, call.caller.client.id, call.path["name"], call.gateway.clock_ms()
    )
    if not done:
        raise Problem(404, "no-such-group", "There is no such group of yours.")
    call.gateway.on_campaign()
    return Result(204)

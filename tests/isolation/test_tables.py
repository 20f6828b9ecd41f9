"""Every table, tried by everybody who must not get at its rows. Generated: a new table is in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from models.policies import ACCESS
from tests.isolation.conftest import OWNERS
from tests.isolation.intruders import ACME, INTRUDERS, WITHOUT_ROWS, Intruder
from tests.isolation.seeds import TABLES, Seed, belongs, foreign_keys, insert, values_for

every_table = pytest.mark.parametrize("table", TABLES)
of_tenants = pytest.mark.parametrize(
    "table", [name for name in TABLES if "tenant_id" in TABLES[name].columns]
)

#: Kinds of table whose rows without a tenant the workspace's tenants, or their workers, may read.
_SHARED = {
    "runtime": {"layered", "owned", "workspace_itself", "workspace_notice"},
    "proxy": {"layered", "owned", "private"},
    "worker": {"layered", "owned", "private", "workspace_itself", "workspace_notice"},
}

#: Who has rows of its own and might hand them on, and the owner's name.
_GIVERS = {
    "tenant next door": "globex",
    "tenant of another workspace": "other-acme",
    "manager of another workspace": "other-acme",
    "proxy for the tenant next door": "globex",
    "worker for the tenant next door": "globex",
    "worker for another workspace": "other-acme",
}

#: References that carry no workspace, and so could cross one; row security hides what they meet.
_LOOSE = {
    ("credit_buckets", "limit_id"),
    ("credit_windows", "limit_id"),
    ("reservations", "limit_id"),
    ("sealed_values", "data_key_id"),
    ("signing_secrets", "data_key_id"),
    ("webhook_secrets", "data_key_id"),
}

_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityError)


def _kind(table: str) -> str:
    return str(TABLES[table].info["rls"])


def _off_limits(seeded, table: str, who: Intruder) -> Iterator[dict[str, Any]]:
    """Yield the keys of the rows of acme and its workspace that are none of the intruder's."""
    if table in seeded.tables("acme"):
        yield seeded.key("acme", table)
    shared = who.is_neighbour and _kind(table) in _SHARED[who.role]
    if table in seeded.tables("shop") and not shared:
        yield seeded.key("shop", table)


def _condition(key: dict[str, Any]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder(column)) for column in key
    )


def _statements(table: str, key: dict[str, Any]) -> dict[str, sql.Composed]:
    """Return a read, a change and a removal of one row, all of which name the key only."""
    name, first, where = sql.Identifier(table), sql.Identifier(next(iter(key))), _condition(key)
    return {
        "read": sql.SQL("SELECT {} FROM {} WHERE {}").format(first, name, where),
        "change": sql.SQL("UPDATE {} SET {} = {} WHERE {}").format(name, first, first, where),
        "removal": sql.SQL("DELETE FROM {} WHERE {}").format(name, where),
    }


@every_table
def test_the_seed_is_there(platform, seeded, table):
    """The tables' owner sees and changes each seeded row: the tests below look for something."""
    owners = [name for name in OWNERS if table in seeded.tables(name)]
    assert {"shop", "other"} <= set(owners) or {"acme", "globex", "other-acme"} <= set(owners)
    with psycopg.connect(platform.owner_url) as connection:
        for owner in owners:
            key = seeded.key(owner, table)
            statements = _statements(table, key)
            assert connection.execute(statements["read"], key).rowcount == 1
            assert connection.execute(statements["change"], key).rowcount == 1
        connection.rollback()


@every_table
def test_owners_see_exactly_their_own(seeded, scopes, logins, table):
    """A tenant, a manager and a worker see their rows, what is shared with them, and no others."""
    stamps = {
        "runtime": (scopes.tenant(ACME), {"acme"}),
        "manager": (scopes.manager(ACME), {"shop", "acme", "globex"}),
        "proxy": (scopes.proxy(ACME), {"acme"}),
        "worker": (scopes.worker(ACME), {"acme"}),
    }
    for role, (stamp, own) in stamps.items():
        if "s" not in ACCESS[table].get(role, ""):
            continue
        expected = own | ({"shop"} if _kind(table) in _SHARED.get(role, set()) else set())
        seen = {
            owner
            for owner in OWNERS
            if table in seeded.tables(owner)
            for key in [seeded.key(owner, table)]
            if logins[role].attempt(stamp, _statements(table, key)["read"], key)
        }
        assert seen == {name for name in expected if table in seeded.tables(name)}, role


@every_table
def test_a_row_that_is_named_does_not_exist(seeded, scopes, logins, table):
    """Reading, changing or removing another's row by its key meets nothing, or is refused."""
    met = [
        (name, what, key)
        for name, who in INTRUDERS.items()
        for key in _off_limits(seeded, table, who)
        for what, statement in _statements(table, key).items()
        if logins[who.role].attempt(who.stamp(scopes), statement, key)
    ]
    assert met == []


@every_table
def test_a_forgotten_condition_shows_nothing(seeded, scopes, logins, table):
    """A list without any condition holds no row of another's."""
    names = sql.SQL(", ").join(sql.Identifier(key.name) for key in TABLES[table].primary_key)
    statement = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(table))
    for name, who in INTRUDERS.items():
        hidden = list(_off_limits(seeded, table, who))
        try:
            with logins[who.role].scoped(who.stamp(scopes)) as connection:
                seen = connection.execute(statement).fetchall()
        except psycopg.errors.InsufficientPrivilege:
            seen = []
        assert not [key for key in hidden if key in seen], name


@every_table
def test_a_forgotten_condition_changes_nothing(seeded, scopes, logins, table):
    """Changing or removing "all rows" changes none for somebody who has none.

    The statements read no column, so that only the policies for changes stand in their way.
    """
    own = {column.name for column in TABLES[table].primary_key} | {"workspace_id", "tenant_id"}
    column = next(c.name for c in TABLES[table].columns if c.name not in own)
    change = sql.SQL("UPDATE {} SET {} = DEFAULT").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    removal = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
    for name, who in WITHOUT_ROWS.items():
        login, stamp = logins[who.role], who.stamp(scopes)
        assert not login.attempt(stamp, change), name
        assert not login.attempt(stamp, removal), name


@every_table
def test_no_row_is_made_for_another(seeded, scopes, logins, table):
    """A row for acme, or for its workspace, cannot be inserted, and the refusal says nothing more.

    It comes before any constraint is looked at, so it does not tell which keys are taken.
    """
    # Rows of the operator's table belong to nobody.
    intruders = INTRUDERS if _kind(table) != "operator" else {}
    owner = ACME if belongs(TABLES[table], ACME) else OWNERS["shop"]
    row = values_for(TABLES[table], owner, {**seeded.rows["shop"], **seeded.rows["acme"]})
    for who in intruders.values():
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            logins[who.role].scoped(who.stamp(scopes)) as connection,
        ):
            insert(connection, table, row)


@of_tenants
@pytest.mark.parametrize("giver", _GIVERS)
def test_no_row_is_handed_over(seeded, scopes, logins, table, giver):
    """A row of one's own cannot become acme's, nor half of it."""
    who, owner = INTRUDERS[giver], _giver(giver, table)
    login, stamp, key = logins[who.role], who.stamp(scopes), seeded.key(owner.name, table)
    statement = sql.SQL("UPDATE {} SET workspace_id = %(w)s, tenant_id = %(t)s WHERE {}").format(
        sql.Identifier(table), _condition(key)
    )
    stays = login.attempt(stamp, statement, {**key, "w": owner.workspace, "t": owner.tenant})
    assert stays == (1 if "u" in ACCESS[table].get(who.role, "") else None)
    for place in _places_between(owner):
        with pytest.raises(_REFUSED), login.scoped(stamp) as connection:
            connection.execute(statement, {**key, "w": place.workspace, "t": place.tenant})


@of_tenants
@pytest.mark.parametrize("giver", _GIVERS)
def test_no_row_is_half_of_another(seeded, scopes, logins, table, giver):
    """A new row cannot name one's own workspace and acme's tenant, or the other way round."""
    who, owner = INTRUDERS[giver], _giver(giver, table)
    for place in _places_between(owner):
        row = values_for(
            TABLES[table], place, {**_shared(seeded, owner), **seeded.rows[owner.name]}
        )
        with pytest.raises(_REFUSED), logins[who.role].scoped(who.stamp(scopes)) as connection:
            insert(connection, table, row)


@pytest.mark.parametrize(
    ("table", "column"), [(name, column) for name in TABLES for column in foreign_keys(name)]
)
def test_no_reference_leaves_its_workspace(platform, seeded, table, column):
    """A row cannot point at a row of another workspace: keys are checked past row security.

    Tried as the tables' owner, whom no policy holds back.
    """
    target = foreign_keys(table)[column]
    mine, theirs = next(
        (mine, theirs)
        for mine, theirs in (("other-acme", "acme"), ("other", "shop"))
        if table in seeded.tables(mine) and target in seeded.tables(theirs)
    )
    row = values_for(
        TABLES[table],
        OWNERS[mine],
        {**seeded.rows["other"], **seeded.rows[mine], target: seeded.rows[theirs][target]},
    )
    with psycopg.connect(platform.owner_url) as connection:
        try:
            insert(connection, table, row)
            crossed = True
        except psycopg.errors.ForeignKeyViolation:
            crossed = False
        connection.rollback()
    assert crossed == ((table, column) in _LOOSE)


def _shared(seeded, owner: Seed) -> dict[str, Any]:
    """Return the rows that the owner's workspace shares, by table."""
    return next(
        seeded.rows[each.name]
        for each in OWNERS.values()
        if each.tenant is None and each.workspace == owner.workspace
    )


def _giver(name: str, table: str) -> Seed:
    # A manager writes the workspace's layer of an element, not a tenant's.
    of_workspace = name.startswith("manager") and _kind(table) == "layered"
    return OWNERS["other" if of_workspace else _GIVERS[name]]


def _places_between(owner: Seed) -> Iterator[Seed]:
    """Yield acme's place, and those that are acme's workspace or acme's tenant with one's own."""
    for workspace in {ACME.workspace, owner.workspace}:
        for tenant in (ACME.tenant, owner.tenant):
            if (workspace, tenant) != (owner.workspace, owner.tenant):
                yield Seed("acme", workspace, tenant)

"""What the database's own catalogue says: nothing is open that is not meant to be."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from sqlmodel import SQLModel

from models.policies import ACCESS, COLUMNS, COMMANDS, ROWS
from runtime.settings import ROLES
from tests.isolation.intruders import ACME
from tests.isolation.seeds import TABLES

LOGINS = [f"vesicle_{role}" for role in ROLES]
OWNER = "vesicle_owner"

#: Tables that hold no tenant's rows and are nobody's but the owner's.
OWNERS_ONLY = {"public.alembic_version", "vesicle.scope_keys"}
#: Functions that run with their owner's rights. Each is read with care; no other may join them.
DEFINERS = {
    "vesicle.scope(text)",
    "vesicle.ensure_partitions(integer)",
    "vesicle.note_trigger_change()",
}


@pytest.fixture(scope="module")
def catalogue(platform):
    """Answers questions about the database as the tables' owner."""
    with psycopg.connect(platform.owner_url, autocommit=True) as connection:
        yield lambda query, *values: connection.execute(query, values).fetchall()


def _relations(catalogue):
    return catalogue(
        "SELECT n.nspname || '.' || c.relname, pg_get_userbyid(c.relowner), c.relrowsecurity,"
        " c.relforcerowsecurity, c.relispartition"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%%'"
        " AND n.nspname <> 'information_schema'"
    )


def test_every_table_is_bound(catalogue):
    """Each table and each partition has row security, forced on its owner too, who is ours."""
    found = _relations(catalogue)
    assert sum(is_partition for *_, is_partition in found) >= 6  # two months of three tables
    for name, owner, enabled, forced, _ in found:
        assert owner == OWNER, name
        if name not in OWNERS_ONLY:
            assert (enabled, forced) == (True, True), name


def test_no_table_is_unknown(catalogue):
    """Every table is one that the generated tests walk through, or a partition of it."""
    known = {f"public.{name}" for name in TABLES} | OWNERS_ONLY
    assert {name for name, *_, is_partition in _relations(catalogue) if not is_partition} == known


def test_no_view_shows_the_rows_of_others(catalogue):
    """There is no view that runs with its owner's rights, and no materialised one at all."""
    assert not catalogue(
        "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text IN ('public',"
        " 'vesicle') AND (relkind = 'm' OR (relkind = 'v' AND NOT"
        " coalesce('security_invoker=true' = ANY (reloptions), false)))"
    )


def test_roles_have_no_power_beyond_their_grants(catalogue):
    """No role is a superuser, passes row security by, makes roles, or is a member of another."""
    found = catalogue(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND NOT (rolsuper OR rolbypassrls"
        " OR rolcreaterole OR rolcreatedb OR rolreplication)",
        LOGINS,
    )
    assert {name for (name,) in found} == set(LOGINS)
    # Only the owner, which made them, administers them.
    members = catalogue("SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members")
    assert not [pair for pair in members if pair[0] in LOGINS]
    assert {member for member, role in members if role in LOGINS} <= {OWNER}


def test_no_function_lends_its_owners_rights(catalogue):
    """Only the functions that must do so run as their owner, under a fixed search path."""
    found = catalogue(
        "SELECT p.oid::regprocedure::text, p.proconfig FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE p.prosecdef AND n.nspname NOT LIKE 'pg\\_%%'"
    )
    assert {name for name, _ in found} == DEFINERS
    for _, settings in found:
        assert settings == ["search_path=pg_catalog, pg_temp"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_is_written_and_no_more(catalogue, role):
    """The grants on tables and columns are those of the table in models/policies.py."""
    for table in TABLES:
        for letter, command in COMMANDS.items():
            columns = COLUMNS.get((table, role, letter))
            named = {name.strip() for name in (columns or "").split(",")} - {""}
            granted = letter in ACCESS[table].get(role, "")
            ((whole,),) = catalogue(
                "SELECT has_table_privilege(%s, %s, %s)", f"vesicle_{role}", table, command
            )
            assert whole == (granted and not named), (table, command)
            if command == "DELETE":
                continue
            for column in TABLES[table].columns:
                ((allowed,),) = catalogue(
                    "SELECT has_column_privilege(%s, %s, %s, %s)",
                    f"vesicle_{role}",
                    table,
                    column.name,
                    command,
                )
                assert allowed == (granted and (not named or column.name in named)), (
                    table,
                    command,
                    column.name,
                )


@pytest.mark.parametrize("role", ROLES)
def test_nothing_else_is_granted(catalogue, role):
    """No role may empty a table past its policies, reach a partition by name, or make tables."""
    login = f"vesicle_{role}"
    assert not catalogue(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p')"
        " AND has_table_privilege(%s, c.oid, 'TRUNCATE, REFERENCES, TRIGGER')",
        login,
    )
    anything = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
    assert not catalogue(
        "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p')"
        " AND (c.relispartition OR c.oid = ANY (%s::regclass[]))"
        " AND (has_table_privilege(%s, c.oid, %s) OR has_any_column_privilege(%s, c.oid, %s))",
        sorted(OWNERS_ONLY),
        login,
        anything,
        login,
        "SELECT, INSERT, UPDATE, REFERENCES",
    )
    for schema in ("public", "vesicle"):
        assert catalogue("SELECT has_schema_privilege(%s, %s, 'CREATE')", login, schema) == [
            (False,)
        ]
    assert catalogue(
        "SELECT has_database_privilege(%s, current_database(), 'CREATE'),"
        " has_database_privilege(%s, current_database(), 'TEMPORARY')",
        login,
        login,
    ) == [(False, False)]


@pytest.mark.parametrize("role", ROLES)
def test_the_keys_of_scopes_are_out_of_reach(logins, role):
    """No role reads the keys with which it could sign a scope of its own making."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        logins[role].scoped(None) as connection,
    ):
        connection.execute("SELECT * FROM vesicle.scope_keys")


@pytest.mark.parametrize("role", ROLES)
def test_partitions_are_out_of_reach(logins, catalogue, role):
    """A partition, which has no policies, answers no role by its own name."""
    parts = catalogue("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    assert parts
    for (name,) in parts:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            logins[role].scoped(None) as connection,
        ):
            connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))


def test_tenants_write_credentials_and_never_read_them(seeded, scopes, logins):
    """The API's tenant role cannot read what is sealed, not even its own."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        logins["runtime"].scoped(scopes.tenant(ACME)) as connection,
    ):
        connection.execute("SELECT sealed FROM sealed_values")


def test_every_kind_of_table_is_in_use():
    """Each set of rules belongs to a table, and each table names one."""
    assert {table.info["rls"] for table in SQLModel.metadata.sorted_tables} == set(ROWS)

"""The universe's files: loaded once, however often, and all of them or none."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg
import pytest

from runtime.actions.validate import check_spec
from runtime.config.universe import load_universe, read_universe
from runtime.config.yaml_files import read_yaml
from runtime.errors import ConfigurationError

OURS = Path(__file__).parents[3] / "universe"
CONNECTOR = """
key: shop
name: Shop
apiClient: {baseUri: "https://shop.example"}
"""
ACTION = """
name: List orders
type: api-request-to-external-app
config: {request: {path: /orders, query: {limit: {$var: $.input.limit}}}}
"""


@pytest.fixture
def folder(tmp_path):
    """A universe of one app with one action."""
    app = tmp_path / "universe" / "shop"
    (app / "actions").mkdir(parents=True)
    (app / "external-app.yaml").write_text("name: Shop\n")
    (app / "connector.yaml").write_text(CONNECTOR)
    (app / "actions" / "list-orders.yaml").write_text(ACTION)
    return app.parent


@pytest.fixture
async def load(platform):
    """Loads universes as the owner, in a transaction that is rolled back after the test."""
    async with await psycopg.AsyncConnection.connect(platform.owner_url) as owner:
        await owner.execute("DELETE FROM elements WHERE layer = 'universe'")

        async def load(folder: Path):
            report = await load_universe(owner, folder, check=check_spec)
            rows = await owner.execute(
                "SELECT kind || ':' || coalesce(app || '.', '') || key, revision, id,"
                " archived_at IS NULL FROM elements WHERE layer = 'universe' ORDER BY 1"
            )
            return report, {row[0]: row[1:] for row in await rows.fetchall()}

        yield load
        await owner.rollback()


async def test_our_own_universe_loads_and_stays(load):
    """Every file in the repository is valid; loading them again changes nothing."""
    first, rows = await load(OURS)
    assert "action:crm.list-deals" in rows
    assert "connector:crm-oauth" in rows
    again, same = await load(OURS)
    assert (again.created, again.updated, again.archived) == ([], [], [])
    assert len(again.unchanged) == len(first.created) + len(first.updated) + len(first.unchanged)
    assert same == rows


async def test_only_what_changed_is_written(load, folder):
    """A changed file counts up its element's revision, a comment does not."""
    await load(folder)
    path = folder / "shop" / "actions" / "list-orders.yaml"
    path.write_text("# a comment\n" + ACTION)
    assert (await load(folder))[0].updated == []
    path.write_text(ACTION.replace("List orders", "All orders"))
    report, rows = await load(folder)
    assert report.updated == ["action:shop.list-orders"]
    assert rows["action:shop.list-orders"][0] == 2
    assert rows["connector:shop"][0] == 1


async def test_what_vanished_is_archived_and_comes_back(load, folder):
    """An element whose file is gone is archived; with the file it returns under its id."""
    _, before = await load(folder)
    path = folder / "shop" / "actions" / "list-orders.yaml"
    path.unlink()
    report, rows = await load(folder)
    assert report.archived == ["action:shop.list-orders"]
    assert rows["action:shop.list-orders"][2] is False
    assert (await load(folder))[0].archived == []
    path.write_text(ACTION)
    report, rows = await load(folder)
    assert report.updated == ["action:shop.list-orders"]
    assert rows["action:shop.list-orders"][1:] == (before["action:shop.list-orders"][1], True)


async def test_an_action_is_offered_over_each_connector_of_its_app(load, folder):
    """A second connector file of an app gives the app's actions a second time."""
    (folder / "shop" / "connector-oauth.yaml").write_text(
        CONNECTOR.replace("shop\n", "shop-2\n", 1)
    )
    report, _ = await load(folder)
    assert {"action:shop.list-orders", "action:shop-2.list-orders"} <= set(report.created)
    assert str(report).startswith("5 created")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("actions/bad.yaml", "type: run-magic", "bad.yaml"),
        ("actions/bad.yaml", ACTION + "colour: red", "/colour"),
        ("actions/bad.yaml", ACTION.replace("$var", "$vax"), "/config/request/query/limit"),
        ("actions/bad.yaml", ACTION + "inputSchema: {type: objekt}", "/inputSchema/type"),
        ("actions/bad.yaml", ACTION + "key: other", "/key"),
        ("actions/bad.yaml", ACTION + "meta: {1: one}", "is no text"),
        ("actions/bad.yaml", ACTION + "name: again", "is there twice"),
        ("actions/bad.yaml", "a: [", "line 1"),
        ("actions/bad.yaml", "- a", "must hold a mapping"),
        ("actions/bad.yaml", "a: &x 1\nb: *x", "aliases"),
        ("actions/bad.yaml", "a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("actions/bad.yaml", "a: .nan", "bad.yaml"),
        ("actions/bad.yaml", "a: !!binary aGk=", "JSON does not know"),
        ("actions/bad.yaml", "a: " + "[" * 5000, "bad.yaml"),
        ("actions/bad.yaml", "a: " + "x" * 300_000, "more than"),
        ("actions/ba d.yaml", ACTION, "/key"),
        ("connector.yaml", "key: shop", "/name"),
        ("connector-b.yaml", CONNECTOR, "is there twice"),
    ],
)
async def test_a_faulty_file_is_named_and_nothing_is_loaded(load, folder, file, text, says):
    """The error says which file and where in it; the valid files stay unloaded too."""
    (folder / "shop" / file).write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        await load(folder)
    assert file.rpartition("/")[2] in caught.value.message
    assert says in caught.value.message
    for path in (*folder.glob("shop/connector-b.yaml"), *folder.glob("shop/actions/ba*.yaml")):
        path.unlink()
    (folder / "shop" / "connector.yaml").write_text(CONNECTOR)
    report, _ = await load(folder)
    assert "connector:shop" in report.created


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    """Ten lines that would unfold to ten billion nodes are refused at the first alias."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match="aliases"):
        read_yaml(path, "bomb.yaml")


def test_a_date_stays_the_text_that_was_written(tmp_path):
    """YAML would make a date of it, which no JSON document can hold."""
    path = tmp_path / "a.yaml"
    path.write_text("day: 2026-11-23\n")
    assert read_yaml(path, "a.yaml")["day"] == "2026-11-23"


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    """Else a wrong path would archive the whole universe."""
    with pytest.raises(ConfigurationError, match="no folder"):
        read_universe(tmp_path / "none")


async def test_two_loads_at_once_make_one_universe(platform, folder):
    """Processes that start together wait for each other; the second finds everything there."""
    async with contextlib.AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(platform.owner_url, autocommit=True)
            )
            for _ in range(2)
        ]
        await first.execute("SELECT pg_advisory_lock(hashtextextended('universe', 0))")
        await second.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await load_universe(second, folder)

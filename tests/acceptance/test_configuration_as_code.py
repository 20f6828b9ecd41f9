"""A workspace's elements as a folder of files: pulled, changed, planned, pushed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.console import Console

from launch.config_folder import Named, piece_of, read_folder, write_piece
from launch.pull import pieces_of, pull
from launch.push import carry_out, check, plan
from launch.remote import open_remote
from launch.told import push_folder
from runtime.config.yaml_files import parse_yaml, yaml_text
from runtime.errors import ConfigurationError
from runtime.settings import Settings
from tests.api.asking import ok, refused
from tests.api.samples import CONNECTOR
from tests.samples import LIST_DEALS, add_element

ECHO = {"name": "Echo", "type": "run-python", "config": {"function": "echo"}}
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def public_action(platform):
    """An action of the public catalogue, offered over the connector `shop`."""
    key = f"list-{uuid.uuid4().hex[:8]}"
    element_id = await add_element(
        platform, None, "action", key, LIST_DEALS, layer="universe", app="shop"
    )
    yield key
    await platform.rows("DELETE FROM elements WHERE id = %s RETURNING id", element_id)


@pytest.fixture
async def shop(manager, public_action):
    """A workspace with something of everything that its managers can write."""
    await ok(manager.post("/connectors", json=CONNECTOR), 201)
    parameters = {"baseUri": "http://127.0.0.1:1", "clientSecret": "s3cr3t-of-the-shop"}
    await ok(
        manager.post(
            "/integrations",
            json={"key": "main", "connectorKey": "shop", "parameters": parameters},
        ),
        201,
    )
    await ok(manager.post("/actions", json={"key": "echo", **ECHO}), 201)
    await ok(manager.patch(f"/actions/{public_action}", json={"description": None, "timeout": 9}))
    await ok(manager.patch(f"/actions/main.{public_action}", json={"name": "Over main"}))
    await ok(manager.post("/actions", json={"key": "own", "integrationKey": "main", **ECHO}), 201)
    return public_action


@pytest.fixture
def at(api_url):
    """Calls something with the remote of a workspace, in a thread, as a command line would."""

    def _call(workspace, call):
        settings = Settings(
            api_url=api_url,
            workspace_key=workspace.key,
            workspace_secret=SecretStr(workspace.secret),
        )
        with open_remote(settings) as remote:
            return call(remote)

    async def at(workspace, call):
        return await asyncio.to_thread(_call, workspace, call)

    return at


@pytest.fixture
def vesicle(api_url, workspace):
    """The command line, speaking with the workspace; returns its status and what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "VESICLE_API_URL": api_url,
        "VESICLE_WORKSPACE_KEY": workspace.key,
        "VESICLE_WORKSPACE_SECRET": workspace.secret,
        "COLUMNS": "200",
    }

    async def run(*words) -> tuple[int, str]:
        command = [sys.executable, "-m", "launch", *map(str, words)]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


async def _exported(manager) -> list[dict]:
    return (await ok(manager.get("/export?limit=1000")))["items"]


def _without_revision(items: list[dict]) -> list[dict]:
    plain = [{**item, "revision": None} for item in items]
    return sorted(plain, key=lambda item: json.dumps(item, sort_keys=True))


async def test_what_was_pulled_pushes_as_no_change(vesicle, shop, acme, tmp_path):
    """Pull writes one file an element, push finds nothing to do, and pulling again writes none."""
    await ok(acme.patch("/actions/echo", json={"name": "Acme's own"}))
    folder = tmp_path / "config"
    status, said = await vesicle("pull", folder)
    assert (status, "6 written" in said) == (0, True), said
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")}
    assert files == {
        "connectors/shop.yaml",
        "integrations/main.yaml",
        "actions/echo.yaml",
        f"connectors/shop/actions/{shop}.yaml",
        f"integrations/main/actions/{shop}.yaml",
        "integrations/main/actions/own.yaml",
    }
    text = "".join((folder / name).read_text() for name in files)
    assert "s3cr3t" not in text
    assert "Acme's own" not in text
    patch = yaml.safe_load((folder / f"connectors/shop/actions/{shop}.yaml").read_text())
    assert patch == {"customizes": True, "description": None, "timeout": 9}
    assert list(yaml.safe_load((folder / "actions/echo.yaml").read_text())) == list(ECHO)

    status, said = await vesicle("push", folder, "--yes", "--prune")
    assert status == 0
    assert "0 to create, 0 to change, 0 to archive, 6 unchanged" in said
    status, said = await vesicle("pull", folder)
    assert "0 written, 0 removed, 6 unchanged" in said


async def test_a_plan_comes_first_and_writes_nothing(vesicle, shop, manager, acme, tmp_path):
    """The plan tells what would be created and changed, with paths; --yes then does it."""
    folder = tmp_path / "config"
    await vesicle("pull", folder)
    (folder / "actions/new.yaml").write_text(yaml.safe_dump(ECHO))
    changed = {**ECHO, "timeout": 33, "config": {"function": "echo", "input": {"a": 1}}}
    (folder / "actions/echo.yaml").write_text("# ours\n" + yaml.safe_dump(changed))
    before = await _exported(manager)

    status, said = await vesicle("push", folder, "--plan")
    assert status == 0, said
    for line in ("+ create  actions/new.yaml", "~ change  actions/echo.yaml", "/timeout"):
        assert line in said
    assert "1 to create, 1 to change, 0 to archive" in said
    assert await _exported(manager) == before
    status, said = await vesicle("push", folder)
    assert (status, "--yes" in said) == (1, True)
    assert await _exported(manager) == before

    status, said = await vesicle("push", folder, "--yes")
    assert status == 0, said
    assert (await ok(acme.get("/actions/echo")))["timeout"] == 33
    assert (await ok(acme.get("/actions/new")))["name"] == "Echo"
    _, said = await vesicle("pull", folder)
    assert "0 written" in said
    assert (folder / "actions/echo.yaml").read_text().startswith("# ours\n")


async def test_an_empty_workspace_becomes_like_another(
    at, make_workspace, workspace, shop, manager, tmp_path
):
    """Everything is created in the order of what it needs, connector before what stands on it."""
    other = await make_workspace()
    await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    console = Console(quiet=True)
    done = await at(
        other,
        lambda remote: push_folder(
            remote, tmp_path, console, is_plan=False, is_sure=True, prune=False
        ),
    )
    assert done
    theirs = await _exported(await other.manager())
    assert _without_revision(theirs) == _without_revision(await _exported(manager))
    assert next(item["key"] for item in theirs) == "shop"


async def test_a_large_folder_is_checked_with_what_it_stands_on(at, workspace, manager):
    """However many requests a dry run takes, each sees the connectors and integrations to come."""
    connector = {name: value for name, value in CONNECTOR.items() if name != "key"}
    pieces = [
        _piece("shop", kind="connector", spec=connector),
        _piece("main", kind="integration", spec={"connectorKey": "shop"}),
        *(_piece(f"a{number}", integrationKey="main", spec=ECHO) for number in range(250)),
    ]
    steps = plan({piece.name: piece for piece in pieces}, {}, prune=False).steps
    assert await at(workspace, lambda remote: check(remote, steps)) == []
    assert await _exported(manager) == []


async def test_what_somebody_changed_meanwhile_is_not_overwritten(
    at, workspace, shop, manager, tmp_path
):
    """A step whose element has another revision is refused; the others are done, then go on."""
    await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    for name in ("actions/echo.yaml", "integrations/main/actions/own.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump({**ECHO, "timeout": 44}))

    def planned(remote):
        return plan(read_folder(tmp_path), pieces_of(remote), prune=False)

    wanted = await at(workspace, planned)
    await ok(manager.patch("/actions/echo", json={"timeout": 5}))
    told: dict[str, str | None] = {}
    refusals = await at(
        workspace,
        lambda remote: carry_out(
            remote, wanted.steps, lambda step, fault: told.update({step.name.path: fault})
        ),
    )
    assert refusals == 1
    assert "changed by somebody else" in told["actions/echo.yaml"]
    assert told["integrations/main/actions/own.yaml"] is None
    assert (await ok(manager.get("/actions/echo")))["timeout"] == 5
    again = await at(workspace, planned)
    assert [step.name.path for step in again.steps] == ["actions/echo.yaml"]


async def test_only_prune_archives(at, workspace, shop, manager, tmp_path):
    """What the folder lacks is kept and named; with prune it goes, customisations as a reset."""
    await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    (tmp_path / "actions/echo.yaml").unlink()
    (tmp_path / f"connectors/shop/actions/{shop}.yaml").unlink()

    def planned(remote, *, prune):
        return plan(read_folder(tmp_path), pieces_of(remote), prune=prune)

    kept = await at(workspace, lambda remote: planned(remote, prune=False))
    assert not kept.steps
    assert sorted(kept.kept) == ["actions/echo.yaml", f"connectors/shop/actions/{shop}.yaml"]
    wanted = await at(workspace, lambda remote: planned(remote, prune=True))
    assert {step.verb for step in wanted.steps} == {"archive"}
    refusals = await at(workspace, lambda remote: carry_out(remote, wanted.steps, lambda *_: None))
    assert refusals == 0
    await refused(manager.get("/actions/echo?layer=workspace"), 404)
    below = await ok(manager.get(f"/actions/{shop}?explain=true"))
    assert {layer["layer"] for layer in below["layers"]} == {"universe"}


async def test_pull_can_prune_files(at, workspace, shop, manager, tmp_path):
    """A file of what the workspace does not have is named, and removed only on request."""
    await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    await ok(manager.delete("/actions/echo"))
    (tmp_path / "README.md").write_text("ours")
    first = await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    assert (first.strangers, first.removed) == (["actions/echo.yaml"], [])
    second = await at(workspace, lambda remote: pull(remote, tmp_path, prune=True))
    assert second.removed == ["actions/echo.yaml"]
    assert not (tmp_path / "actions/echo.yaml").exists()
    assert (tmp_path / "README.md").read_text() == "ours"


async def test_a_secret_is_neither_taken_from_a_file_nor_lost(
    at, workspace, shop, manager, platform, tmp_path
):
    """A secret parameter in a file is refused at its line; one that is sealed stays sealed."""
    await at(workspace, lambda remote: pull(remote, tmp_path, prune=False))
    sealed = "SELECT count(*) AS n FROM sealed_values WHERE workspace_id = %s"
    (before,) = await platform.rows(sealed, workspace.id)
    path = tmp_path / "integrations/main.yaml"
    path.write_text(
        "connectorKey: shop\nparameters:\n  baseUri: http://127.0.0.1:2\n  clientSecret: hush\n"
    )

    def faults(remote):
        return check(remote, plan(read_folder(tmp_path), pieces_of(remote), prune=False).steps)

    (fault,) = await at(workspace, faults)
    assert fault == "integrations/main.yaml:4: /parameters/clientSecret is a secret"
    path.write_text(path.read_text().replace("  clientSecret: hush\n", ""))
    console = Console(quiet=True)
    assert await at(
        workspace,
        lambda remote: push_folder(
            remote, tmp_path, console, is_plan=False, is_sure=True, prune=False
        ),
    )
    (after,) = await platform.rows(sealed, workspace.id)
    assert (after["n"], before["n"]) == (1, 1)
    shown = await ok(manager.get("/integrations/main"))
    assert shown["parameters"] == {"baseUri": "http://127.0.0.1:2"}


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("actions/a.yaml", "a: &x [1]\nb: *x\n", "actions/a.yaml is not valid YAML at line 2"),
        ("actions/a.yaml", "name: a\nname: b\n", "line 2, column 1: the key 'name' is there twice"),
        ("actions/a.yaml", "meta:\n  x: 1\n  x: 2\n", "line 3, column 3: the key 'x' is there"),
        ("actions/a.yaml", "a: " + "[" * 5000, "more than 100 levels"),
        ("actions/a.yaml", "- a\n", "must hold a mapping"),
        ("actions/a.yaml", "a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
        ("actions/a.yaml", "a: !!python/object/apply:os.getcwd []", "line 1, column 4: the tag"),
        ("actions/a.yaml", "a: .inf\n", "'.inf' is no number"),
        ("actions/a.yaml", "a: [\n", "actions/a.yaml is not valid YAML at line 1"),
        ("actions/a.yaml", "\n\nkey: ../../etc\n", "actions/a.yaml:3: /key must be the file's"),
        ("actions/a.yaml", "customizes: 7\n", "actions/a.yaml:1: /customizes is true or false"),
        ("actions/a.yml", "a: 1\n", "actions/a.yml: an element's file ends in .yaml"),
        ("actions/a b.yaml", "a: 1\n", "actions/a b.yaml: 'a b' is no key"),
        ("potatoes/a.yaml", "a: 1\n", "no kind of element called 'potatoes'"),
        ("a.yaml", "a: 1\n", "a.yaml is in no folder of elements"),
        ("integrations/main/connectors/a.yaml", "a: 1\n", "connectors belong to none of the int"),
        ("connectors/shop/integrations/a.yaml", "a: 1\n", "integrations belong to none of the"),
        ("elsewhere/main/actions/a.yaml", "a: 1\n", "in no folder of elements"),
        ("integrations/m/actions/deep/a.yaml", "a: 1\n", "not kept that deep"),
    ],
)
def test_a_faulty_file_is_named_with_the_line(tmp_path, file, text, says):
    """What no element can be is refused before anything is sent, naming file, line and path."""
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_folder(tmp_path)
    assert says in caught.value.message


def test_a_huge_file_is_not_read(tmp_path):
    """Of 100 MB no more than the first few are looked at."""
    (tmp_path / "actions").mkdir()
    with (tmp_path / "actions/a.yaml").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ConfigurationError, match=r"actions/a.yaml has more than 4,000,000 bytes"):
        read_folder(tmp_path)


def test_a_file_where_a_folder_belongs_is_told(tmp_path):
    """What cannot be written is an error of one sentence."""
    (tmp_path / "actions").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"actions/a.yaml cannot be written"):
        write_piece(tmp_path, _piece("a"))


async def test_a_name_that_is_no_text_is_told(vesicle, tmp_path):
    """Neither bytes that are no UTF-8 nor what looks like markup hides what the error says."""
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / os.fsdecode(b"[bold]\xff.yaml")).write_text("a: 1")
    status, said = await vesicle("push", tmp_path, "--plan")
    assert (status, "[bold]?" in said, "is no key" in said) == (1, True, True), said


@pytest.mark.parametrize("link", ["actions", "actions/a.yaml"])
def test_no_link_leads_out_of_the_folder(tmp_path, link):
    """Neither a file nor a folder that is a symbolic link is read, or written through."""
    outside = tmp_path / "outside"
    (outside / "actions").mkdir(parents=True)
    (outside / "actions/a.yaml").write_text("name: theirs\n")
    folder = tmp_path / "config"
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside / link)
    with pytest.raises(ConfigurationError, match="is a symbolic link"):
        read_folder(folder)
    piece = replace(_piece("a"), spec={"name": "ours"})
    with pytest.raises(ConfigurationError, match="is a symbolic link"):
        write_piece(folder, piece)
    assert (outside / "actions/a.yaml").read_text() == "name: theirs\n"


def test_a_pipe_is_not_waited_for(tmp_path):
    """A file that nobody writes to would hold the command forever."""
    (tmp_path / "actions").mkdir()
    os.mkfifo(tmp_path / "actions/a.yaml")
    with pytest.raises(ConfigurationError, match="no regular file"):
        read_folder(tmp_path)


def _piece(key: str, **more):
    return piece_of(
        {"kind": "action", "key": key, "customizes": False, "revision": 1, "spec": {}, **more}
    )


@pytest.mark.parametrize(
    "item",
    [
        {"key": "../../etc/passwd"},
        {"key": "a/b"},
        {"key": "a", "integrationKey": ".."},
        {"key": "a", "connectorKey": "../x"},
        {"key": "a", "kind": "potato"},
    ],
)
def test_a_server_cannot_name_a_file_outside_the_folder(item):
    """What a server calls its elements is not trusted either."""
    with pytest.raises(ConfigurationError):
        _piece(**item)


async def test_an_unknown_field_is_told_with_its_line(vesicle, shop, tmp_path):
    """What the server finds wrong is told with the file's line, and nothing at all is written."""
    folder = tmp_path / "config"
    await vesicle("pull", folder)
    (folder / "actions/good.yaml").write_text(yaml.safe_dump(ECHO))
    (folder / "actions/echo.yaml").write_text(
        "type: run-python\nconfig:\n  function: echo\n  colour: red\n"
    )
    status, said = await vesicle("push", folder, "--yes")
    assert status == 1
    assert "actions/echo.yaml:4: /config/colour" in said
    assert "Nothing was written." in said
    _, said = await vesicle("push", folder, "--plan")
    assert "1 to create, 1 to change" in said


async def test_an_import_answers_for_each_element(manager, acme):
    """One faulty element does not keep the others out; a dry run keeps all of them out."""
    items = [
        {"kind": "action", "key": "a", "spec": ECHO},
        {"kind": "action", "key": "b", "spec": {**ECHO, "colour": "red"}},
        {"kind": "action", "key": "c", "customizes": True, "spec": {"timeout": 1}},
        {"kind": "potato", "key": "d", "spec": {}},
        {"kind": "action", "key": "a/b", "spec": ECHO},
        {"kind": "action", "key": "gone", "remove": True},
        {"kind": "action", "key": "e", "spec": ECHO, "integrationKey": "none"},
        {"kind": "connector", "key": "f", "spec": {}, "connectorKey": "shop"},
        {"kind": "action", "key": "g", "spec": ECHO, "connectorKey": "../shop"},
        "no item",
    ]
    results = ["created", "refused", "refused", "refused", "refused", "unchanged"]
    results += ["refused"] * 4
    dry = await ok(manager.post("/import?dryRun=true", json={"items": items}))
    assert [item["result"] for item in dry["items"]] == results
    assert await _exported(manager) == []
    done = await ok(manager.post("/import", json={"items": items}))
    assert [item["result"] for item in done["items"]] == results
    assert done["counts"] == {"created": 1, "refused": 8, "unchanged": 1}
    fault = done["items"][1]["error"]["data"]["errors"][0]
    assert (fault["path"], fault["layer"]) == ("/colour", "workspace")
    assert [item["key"] for item in await _exported(manager)] == ["a"]
    again = await ok(manager.post("/import", json={"items": [{**items[0], "revision": 0}]}))
    assert again["items"][0]["error"]["key"] == "revision_conflict"
    await refused(acme.post("/import", json={"items": items}), 403)
    await refused(acme.get("/export"), 403)
    await refused(manager.post("/import", json={"items": []}), 400)


async def test_a_dry_run_sees_what_comes_before(manager):
    """An integration may stand on a connector of the same import, in whatever order they come."""
    connector = {name: value for name, value in CONNECTOR.items() if name != "key"}
    items = [
        {"kind": "integration", "key": "main", "spec": {"connectorKey": "shop"}},
        {"kind": "connector", "key": "shop", "spec": connector},
    ]
    for dry in ("true", "false"):
        answer = await ok(manager.post(f"/import?dryRun={dry}", json={"items": items}))
        assert [item["result"] for item in answer["items"]] == ["created", "created"]
    assert len(await _exported(manager)) == 2


async def test_of_many_who_create_at_once_one_does(manager):
    """With revision 0 an element is made by exactly one, and the others are told so."""
    item = {"kind": "action", "key": "a", "spec": ECHO, "revision": 0}
    answers = await asyncio.gather(
        *(ok(manager.post("/import", json={"items": [item]})) for _ in range(5))
    )
    results = sorted(answer["items"][0]["result"] for answer in answers)
    assert results == ["created", *["refused"] * 4]
    keys = {answer["items"][0].get("error", {}).get("key") for answer in answers}
    assert keys == {None, "revision_conflict"}


async def test_an_import_is_on_record(platform, workspace, manager):
    """Each element that an import changed is in the audit trail, and what it did not is not."""
    item = {"kind": "action", "key": "a", "spec": ECHO}
    for spec in (ECHO, ECHO, {**ECHO, "timeout": 7}):
        await ok(manager.post("/import", json={"items": [{**item, "spec": spec}]}))
    await ok(manager.post("/import", json={"items": [{**item, "spec": None, "remove": True}]}))
    rows = await platform.rows(
        "SELECT tag, changes FROM audit_records WHERE workspace_id = %s ORDER BY id", workspace.id
    )
    assert [row["tag"] for row in rows] == [
        *("element:created", "element:changed", "element:archived")
    ]
    assert rows[1]["changes"] == {"timeout": 7}


async def test_an_export_is_paged(manager):
    """Each element is on exactly one page."""
    for number in range(5):
        await ok(manager.post("/actions", json={"key": f"a{number}", **ECHO}), 201)
    keys, cursor = [], "0"
    while cursor is not None:
        page = await ok(manager.get(f"/export?limit=2&cursor={cursor}"))
        assert len(page["items"]) <= 2
        keys += [item["key"] for item in page["items"]]
        cursor = page.get("cursor")
    assert keys == [f"a{number}" for number in range(5)]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_what_is_written_is_read_again_as_it_was(document):
    """Whatever a specification holds, its file says the same; or it is refused as a whole."""
    if "\x00" in json.dumps(document).replace("\\u0000", "\x00"):
        return
    assert parse_yaml(yaml_text(document).encode(), "it").value == document


def test_code_is_written_as_a_block(tmp_path):
    """A text of several lines has one line for each, so that a diff shows what changed."""
    piece = replace(_piece("code"), spec={"meta": {"code": "let a = 1\nreturn a\n"}})
    assert write_piece(tmp_path, piece)
    text = (tmp_path / "actions/code.yaml").read_text()
    assert "  code: |\n    let a = 1\n    return a\n" in text
    assert not write_piece(tmp_path, piece)
    assert read_folder(tmp_path)[Named("action", "code")].spec == piece.spec

"""What was refused is there for the operator, who can look at it and clear it."""

from __future__ import annotations

import io

from rich.console import Console

from launch.refused import clear_refused, list_refused, show_refused


async def test_an_operator_sees_and_clears_what_was_refused(platform, post):
    """A forged message is listed with its reason, shown as plain text, and cleared by reason."""
    run = await post.run()
    message = post.message(run, options={"stamp": "[bold]forged"})
    await post.deliver("default", message)
    await post.letter(run["run_id"])

    letters = await list_refused(platform.settings, 1000)
    (mine,) = [letter for letter in letters if letter["message_id"] == run["run_id"]]
    console = Console(file=io.StringIO(), width=10_000)
    show_refused(letters, console, whole=True)

    assert mine["reason"].startswith("stamp_")
    assert "[bold]forged" in console.file.getvalue()
    assert await clear_refused(platform.settings, "no such reason") == 0
    assert await clear_refused(platform.settings, mine["reason"]) >= 1
    left = await list_refused(platform.settings, 1000)
    assert mine["reason"] not in {letter["reason"] for letter in left}

"""What a change would make of the caller's layer, without making it."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from runtime.config.documents import check_document
from runtime.config.faults import Check, refuse_faults
from runtime.config.locate import Located
from runtime.config.merge import diff_patch, merge_patch
from runtime.config.patches import joined
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer
from runtime.config.store import ElementRow
from runtime.config.target import Target, layers_below, own_row
from runtime.config.write import Edit
from runtime.errors import BadRequestError, ConfigurationError

__all__ = ["proposed"]


def proposed(located: Located, target: Target, edit: Edit, check: Check) -> ElementRow:
    """Return the caller's row as `write.change` would leave it; nothing is written.

    Raises ConfigurationError where that would refuse the change, with the path and the layer.
    """
    if located.is_archived:
        raise BadRequestError(f"{located.key} is archived and cannot be changed; restore it first.")
    check_document(edit.document, f"The {located.kind.singular}")
    own = own_row(located, target)
    below = [as_layer(row) for row in layers_below(located, own)]
    if own is not None and own.parent_id is None:
        spec = edit.document if edit.replaces else merge_patch(own.spec, edit.document)
        row = replace(as_layer(own), spec=_whole(located, spec))
    else:
        row = _customised(located, target, edit, below)
    found = resolve([*below, row], located.place)
    assert found is not None  # noqa: S101 - the proposed row itself is there
    refuse_faults(found, check, target.layer)
    return row


def _customised(
    located: Located, target: Target, edit: Edit, below: list[ElementRow]
) -> ElementRow:
    lower = resolve(below, located.place)
    if lower is None:
        raise ConfigurationError(f"{located.key} has nothing left to customise.")
    own = own_row(located, target)
    if edit.replaces:
        patch = diff_patch(lower.spec, _whole(located, edit.document))
    else:
        patch = joined(lower.spec, own.spec if own else {}, edit.document)
    if own is not None:
        return replace(as_layer(own), spec=patch)
    return replace(
        below[-1],
        id=uuid4(),
        layer=target.layer,
        workspace_id=target.workspace_id,
        tenant_id=target.tenant_id,
        integration_id=target.integration_id,
        connection_id=target.connection_id,
        parent_id=below[-1].id,
        spec=patch,
        revision=0,
    )


def _whole(located: Located, document: dict[str, object]) -> dict[str, object]:
    spec = {name: value for name, value in document.items() if value is not None}
    return {**spec, "key": located.key} if located.kind.is_keyed else spec

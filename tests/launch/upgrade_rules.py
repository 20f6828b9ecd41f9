"""What a migration may do while the release before it is at work (docs/operating.md, Upgrades)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["breaches"]

_CREATED = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(?:public\.)?\"?(\w+)", re.IGNORECASE)
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\S+ ON (?!ONLY)(?:public\.)?"
    r"\"?(\w+)",
    re.IGNORECASE,
)
_ALTERED = re.compile(r"ALTER TABLE (?:ONLY )?(?:public\.)?\"?(\w+)\"? (.*)", re.IGNORECASE)
_CHANGED = re.compile(r"(?:UPDATE|DELETE FROM) (?:public\.)?\"?(\w+)", re.IGNORECASE)

#: What stands in an ALTER TABLE -> what is wrong with it.
_WRONG = {
    r"DROP COLUMN": "the release before still names the column",
    r"RENAME": "the release before still uses the old name",
    r"ALTER COLUMN \S+ (SET DATA )?TYPE": "the table may be rewritten under a lock",
    r"ALTER COLUMN \S+ SET NOT NULL": "the table is read under a lock, and the release before "
    "may write none",
    r"ADD COLUMN (?!.*DEFAULT).*NOT NULL": "the release before writes rows without it",
    r"ADD COLUMN .*GENERATED ALWAYS AS .* STORED": "the table is rewritten under a lock",
    r"ADD (CONSTRAINT \S+ )?(CHECK|FOREIGN KEY)(?!.*NOT VALID)": "the table is read under a "
    "lock: add it NOT VALID, and validate it later",
    r"ADD (CONSTRAINT \S+ )?(UNIQUE|PRIMARY KEY|EXCLUDE)(?!.*USING INDEX)": "an index is built "
    "under a lock: build it CONCURRENTLY first",
}


def breaches(statements: Sequence[str], large: Collection[str] = ()) -> list[str]:
    """Return what the statements of one migration may not do; `large` tables keep their rows."""
    made: set[str] = set()
    found: list[str] = []
    for statement in (" ".join(each.split()) for each in statements):
        made.update(_CREATED.findall(statement))
        found += [
            f"{table} takes no writes while it is indexed: {statement}"
            for table in _INDEX.findall(statement)
            if table not in made
        ]
        if dropped := re.match(r"DROP TABLE (?:IF EXISTS )?\"?(\w+)", statement, re.IGNORECASE):
            found.append(f"the release before still uses {dropped[1]}: {statement}")
        for table, change in _ALTERED.findall(statement):
            found += [
                f"{why}: {statement}"
                for wrong, why in _WRONG.items()
                if table not in made and re.search(wrong, change, re.IGNORECASE)
            ]
        if (changed := _CHANGED.match(statement)) and changed[1] in large:
            found.append(f"rows of {changed[1]} stay locked until the end: {statement}")
    return found

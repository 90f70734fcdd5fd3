"""Questions about a table, and whether a query answers them: it is run in SQLite on made-up rows."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.tasks import questions, tables

if TYPE_CHECKING:
    from bench.tasks.tables import Table

Row = tuple[int, str, str, int, int]
ROWS = 40
_STEPS_AT_MOST = 1_000_000
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
_FENCED = re.compile(r"```(?:sql|sqlite)?\s*(.*?)(?:```|$)", re.DOTALL | re.IGNORECASE)
_QUERY = re.compile(r"\b(?:select|with)\b[^;]*", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A schema and a question; what counts is what the query returns, not how it is written."""

    request: str
    answer: str
    table: Table
    seed: int

    def right(self, reply: str) -> bool:
        """The first query of the reply must return the same rows, in the same order where one was asked for."""
        query = query_in(reply)
        if query is None:
            return False
        with closing(database(self.table, self.seed)) as made:
            wanted, found = _run(made, self.answer), _run(made, query)
        if found is None or wanted is None:
            return False
        return found == wanted if "ORDER BY" in self.answer else sorted(map(repr, found)) == sorted(map(repr, wanted))


def make(source: random.Random, *, held_out: bool) -> Question:
    """A question about a random table."""
    asked = questions.HELD_OUT if held_out else questions.TRAINING
    table = source.choice(tables.HELD_OUT if held_out else tables.TRAINING)
    seed = source.randrange(2**32)
    plan = source.choice(sorted(asked))
    column = source.choice([3, 4])
    made = rows(table, seed)
    value = source.choice([row[2] for row in made])
    # A number that occurs tells "above" from "at least".
    limits = sorted(row[column] for row in made if row[2] == value)
    words: dict[str, Any] = {
        "table": table.name, "plural": table.plural, "label": table.label, "category": table.category,
        "number": (table.number, table.other)[column - 3], "value": value,
        "limit": limits[len(limits) // 2], "few": source.randint(2, 9),
    }  # fmt: skip
    spoken = {name: words[name].replace("_", " ") for name in ("label", "category", "number", "plural")}
    question = source.choice(asked[plan]).format(**words | spoken)
    return Question(f"{schema(table)}\n{question}", plan.format(**words), table, seed)


def schema(table: Table) -> str:
    """The statement that makes the table."""
    columns = ("id INTEGER", f"{table.label} TEXT", f"{table.category} TEXT")
    numbers = (f"{table.number} INTEGER", f"{table.other} INTEGER")
    return f"CREATE TABLE {table.name} ({', '.join((*columns, *numbers))});"


def rows(table: Table, seed: int) -> list[Row]:
    """Made-up rows. Numbers of a column differ, so that every order is the only one."""
    source = random.Random(seed)
    numbers, others = (source.sample(range(10, 900), ROWS) for _ in range(2))
    made: list[Row] = []
    for at in range(ROWS):
        label = f"{table.label} {source.randrange(10**6)}"
        made.append((at + 1, label, source.choice(table.values), numbers[at], others[at]))
    return made


def database(table: Table, seed: int) -> sqlite3.Connection:
    """The table with its rows, in memory; only queries run on it, and only for so long."""
    made = sqlite3.connect(":memory:")
    made.execute(schema(table))
    made.executemany(f"INSERT INTO {table.name} VALUES (?, ?, ?, ?, ?)", rows(table, seed))  # noqa: S608 (our names)
    made.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)
    made.set_progress_handler(lambda: 1, _STEPS_AT_MOST)
    return made


def query_in(reply: str) -> str | None:
    """The first query in a reply, which may stand in a fence or among words."""
    fenced = _FENCED.search(reply)
    found = _QUERY.search(fenced[1] if fenced else reply)
    return found[0].strip() if found else None


def _run(made: sqlite3.Connection, query: str) -> list[Any] | None:
    try:
        return made.execute(query).fetchmany(10 * ROWS)
    except (sqlite3.Error, sqlite3.Warning):
        return None

"""Tables that several processes add to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mien.evaluate.rows import Layout, read_rows

WRITER = """
import sys, time
from pathlib import Path
from mien.evaluate.rows import Layout, add_rows
Path(sys.argv[1]).with_name(sys.argv[2]).touch()
while not all(Path(sys.argv[1]).with_name(who).exists() for who in "ab"):
    time.sleep(0.001)
layout = Layout("table", ("who", "number"), ("who", "number"))
for number in range(60):
    add_rows(sys.argv[1], layout, [{"who": sys.argv[2], "number": number}])
"""


def test_processes_that_add_rows_at_once_lose_none(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(table), who]) for who in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    rows = read_rows(table, Layout("table", ("who", "number"), ("who", "number")))
    assert sorted((row["who"], int(row["number"])) for row in rows) == [(who, n) for who in "ab" for n in range(60)]

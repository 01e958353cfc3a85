from __future__ import annotations

import dataclasses
import itertools
import textwrap

from sklearn.linear_model import Ridge
from tests.forks import Forks

from loopwright.registry.alias import Aliases
from loopwright.registry.registry import Registry

PROCESSES = 16
MOVES = 1000
MOVER = textwrap.dedent("""
    import random
    from pathlib import Path
    from loopwright.core.errors import AliasConflictError
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.registry.alias import Aliases

    def main(project, name, moves):
        aliases = Aliases(open_stores(Settings.load(Path(project), environ={})))
        choose = random.Random(name)
        done = 0
        points = aliases.current("eta", "challenger")
        while done < moves:
            try:
                move = aliases.move("eta", "challenger", choose.randint(1, 3), expected=points, by=name)
            except AliasConflictError:
                points = aliases.current("eta", "challenger")
            else:
                done += 1
                points = move.to_version
        return done
""")


def test_sixteen_processes_move_one_alias_and_no_move_is_lost(stores, tmp_path, runs):
    registry = Registry(stores)
    first = registry.register(runs.candidate(Ridge()))
    for number in (2, 3):
        registry.record(dataclasses.replace(first, run_id=f"run-{number}"), reason="packaged here")
    aliases = Aliases(stores)
    aliases.move("eta", "challenger", 1, expected=None, by="begin")
    with Forks(MOVER) as forks:
        done = forks.together(*((tmp_path, f"mover-{number}", MOVES) for number in range(PROCESSES)))
    assert done == [MOVES] * PROCESSES
    trail = aliases.history("eta", "challenger")
    assert [move.move for move in trail] == list(range(1, PROCESSES * MOVES + 2))
    assert all(a.to_version == b.from_version for a, b in itertools.pairwise(trail))
    counts = {f"mover-{number}": 0 for number in range(PROCESSES)}
    for move in trail[1:]:
        counts[move.moved_by] += 1
    assert set(counts.values()) == {MOVES}
    assert aliases.current("eta", "challenger") == trail[-1].to_version

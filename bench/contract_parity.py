"""Import rules of Great Expectations and pandera, and compare verdicts and failing rows with theirs on random tables.

    python bench/contract_parity.py                # 20 tables
    python bench/contract_parity.py --install-peers

Both peers live in bench/.envs/great_expectations. Each table is judged there by every expectation and every check of
pandera that is imported, and here by what the import made of it. Where the definitions differ (docs/contracts.md) the
comparison allows for it: of repeated values the first row is taken out, and of an order only the verdict is compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

import loopwright as lw

PEER = Path(__file__).resolve().parent / ".envs" / "great_expectations"
LOOSE = {"expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing"}
REPEATED = {"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique", "unique"}

PEER_SCRIPT = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
os.environ["GX_ANALYTICS_ENABLED"] = "False"
import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np, pandas as pd
import pandera.pandas as pa

folder, tables = sys.argv[1], int(sys.argv[2])
context = gx.get_context(mode="ephemeral")
asset = context.data_sources.add_pandas("memory").add_dataframe_asset("t")
batches = asset.add_batch_definition_whole_dataframe("all")
for seed in range(tables):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    hole = lambda values: pd.Series(values).where(rng.random(n) > 0.1)
    frame = pd.DataFrame({
        "x": hole(rng.integers(-5, 6, n).astype(float)), "y": hole(rng.integers(-5, 6, n).astype(float)),
        "i": rng.integers(0, 8, n), "j": rng.integers(0, 8, n), "s": hole(rng.choice(["ab", "a", "bcd", "xa", ""], n)),
        "d": hole(rng.choice(["2026-01-31", "2026-13-01", "soon"], n)), "o": hole(rng.choice(["{}", "[1]", "{"], n)),
    })
    frame.to_parquet(f"{folder}/{seed}.parquet")
    low, high = int(rng.integers(-5, 0)), int(rng.integers(1, 6))
    mostly = float(rng.choice([0.5, 0.8, 1.0]))
    many = [
        gxe.ExpectColumnValuesToBeBetween(column="x", min_value=low, max_value=high, mostly=mostly),
        gxe.ExpectColumnValuesToBeBetween(column="x", min_value=low, strict_min=True, mostly=mostly),
        gxe.ExpectColumnValuesToBeBetween(column="x", max_value=high, strict_max=True),
        gxe.ExpectColumnValuesToBeInSet(column="i", value_set=[1, 2, 3, low], mostly=mostly),
        gxe.ExpectColumnValuesToNotBeInSet(column="s", value_set=["ab"]),
        gxe.ExpectColumnValuesToNotBeNull(column="x"), gxe.ExpectColumnValuesToBeNull(column="x"),
        gxe.ExpectColumnValuesToMatchRegex(column="s", regex="a$", mostly=mostly),
        gxe.ExpectColumnValuesToNotMatchRegex(column="s", regex="^a|d"),
        gxe.ExpectColumnValuesToMatchRegexList(column="s", regex_list=["^b", "x"], match_on="any"),
        gxe.ExpectColumnValueLengthsToBeBetween(column="s", min_value=1, max_value=2),
        gxe.ExpectColumnValueLengthsToEqual(column="s", value=2),
        gxe.ExpectColumnValuesToMatchStrftimeFormat(column="d", strftime_format="%Y-%m-%d"),
        gxe.ExpectColumnValuesToBeJsonParseable(column="o"),
        gxe.ExpectColumnValuesToBeUnique(column="i"), gxe.ExpectCompoundColumnsToBeUnique(column_list=["i", "j"]),
        gxe.ExpectColumnValuesToBeIncreasing(column="i"),
        gxe.ExpectColumnValuesToBeDecreasing(column="i", strictly=True),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="x", column_B="y", or_equal=True, ignore_row_if="either_value_is_missing"),
        gxe.ExpectColumnPairValuesToBeEqual(column_A="i", column_B="j"),
        gxe.ExpectMulticolumnSumToEqual(column_list=["i", "j"], sum_total=7),
        gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(column_list=["i", "j"]),
        gxe.ExpectColumnMeanToBeBetween(column="x", min_value=low, max_value=high),
        gxe.ExpectColumnMedianToBeBetween(column="i", min_value=2, max_value=4),
        gxe.ExpectColumnStdevToBeBetween(column="x", max_value=3),
        gxe.ExpectColumnSumToBeBetween(column="i", min_value=60),
        gxe.ExpectColumnMinToBeBetween(column="x", min_value=-4),
        gxe.ExpectColumnMaxToBeBetween(column="x", max_value=4),
        gxe.ExpectColumnUniqueValueCountToBeBetween(column="i", min_value=6),
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(column="i", max_value=0.3),
        gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(column="x", min_value=0.9),
        gxe.ExpectColumnQuantileValuesToBeBetween(
            column="i", quantile_ranges={"quantiles": [0.5], "value_ranges": [[2, 4]]}),
        gxe.ExpectColumnDistinctValuesToBeInSet(column="s", value_set=["ab", "a", "bcd", ""]),
        gxe.ExpectColumnDistinctValuesToContainSet(column="s", value_set=["ab", "xa"]),
        gxe.ExpectColumnDistinctValuesToEqualSet(column="s", value_set=["ab", "a", "bcd", "xa", ""]),
        gxe.ExpectColumnMostCommonValueToBeInSet(column="s", value_set=["ab", "a"], ties_okay=True),
        gxe.ExpectTableRowCountToBeBetween(min_value=20, max_value=50), gxe.ExpectTableColumnCountToEqual(value=7),
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=["x", "y", "i", "j", "s", "d", "o"]),
        gxe.ExpectTableColumnsToMatchSet(column_set=["x", "y", "i"], exact_match=False),
    ]
    suite = context.suites.add(gx.ExpectationSuite(f"s{seed}", expectations=many))
    result = batches.get_batch({"dataframe": frame}).validate(suite, result_format={"result_format": "COMPLETE"})
    found = []
    for one in result.results:
        config = one.expectation_config.to_json_dict()
        rows = one.result.get("unexpected_index_list")
        problem = one.exception_info.get("exception_message") if "exception_message" in one.exception_info else None
        kwargs = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
        found.append({"tool": "great_expectations", "type": config["type"], "kwargs": kwargs})
        found[-1] |= {"passed": bool(one.success), "rows": rows, "problem": problem}
    for column, check in [
        ("x", pa.Check.in_range(low, high, include_min=False)), ("x", pa.Check.ge(low)), ("x", pa.Check.gt(low)),
        ("x", pa.Check.le(high)), ("x", pa.Check.lt(high)), ("x", pa.Check.eq(high)), ("x", pa.Check.ne(high)),
        ("i", pa.Check.isin([1, 2, 3])), ("i", pa.Check.notin([1, 2, 3])), ("s", pa.Check.str_matches("a|x")),
        ("s", pa.Check.str_contains("b|x")), ("s", pa.Check.str_startswith("a")), ("s", pa.Check.str_endswith("a")),
        ("s", pa.Check.str_length(1, 2)), (None, None),
    ]:
        options = {"coerce": True, "nullable": check is not None}
        name = column or "i"
        declared = pa.Column(frame[name].dtype, check, unique=check is None, **options)
        schema = pa.DataFrameSchema({name: declared})
        rows = []
        try:
            schema.validate(frame, lazy=True)
        except pa.errors.SchemaErrors as error:
            rows = sorted({int(row) for row in error.failure_cases["index"].dropna()})
        name = check.name if check else "unique"
        found.append({"tool": "pandera", "type": name, "schema": schema.to_json(), "passed": not rows, "rows": rows})
    json.dump(found, open(f"{folder}/{seed}.json", "w"), default=str)
"""


def judged(path: Path, one: dict[str, object]) -> tuple[bool, set[int]]:
    """Import one rule and check the table by it; give whether it holds, and the rows that fail."""
    if one["tool"] == "pandera":
        made = lw.import_contract(str(one["schema"]))
    else:
        made = lw.import_contract({"expectations": [{"type": one["type"], "kwargs": one["kwargs"]}]})
    if made.left:
        raise ValueError(str(made.left[0]))
    report = lw.check_table(path, made.contract)
    rows = {row for each in report.results for row in report.rows_failing(each.check)}
    return all(each.has_passed for each in report.results), rows


def firsts(path: Path, names: list[str]) -> set[int]:
    """Return the first row of each value."""
    seen: dict[object, int] = {}
    for row, values in enumerate(pq.read_table(path, columns=names).to_pylist()):
        seen.setdefault(tuple(values.values()), row)
    return set(seen.values())


def main() -> None:
    """Judge random tables on both sides, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--install-peers", action="store_true")
    chosen = parser.parse_args()
    if chosen.install_peers:
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run(
            [str(PEER / "bin/pip"), "install", "-q", "great_expectations", "pandera[io]", "pyarrow"], check=True
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [str(PEER / "bin/python"), "-c", PEER_SCRIPT, folder, str(chosen.tables)]
        subprocess.run(command, check=True, capture_output=True)
        same, differing = 0, []
        for path in sorted(Path(folder).glob("*.parquet")):
            for one in json.loads(path.with_suffix(".json").read_text()):
                passed, rows = judged(path, one)
                theirs = set(one["rows"] or [])
                if one["type"] in REPEATED:
                    columns = one.get("kwargs", {}).get("column_list") or ["i"]
                    theirs -= firsts(path, columns)
                agrees = passed == one["passed"] and (rows == theirs or one["type"] in LOOSE or one["rows"] is None)
                same += agrees
                if not agrees:
                    differing.append(
                        f"{path.stem} {one['type']} {one.get('kwargs', '')}: {one['passed']} {sorted(theirs)[:9]}"
                        f" there, {passed} {sorted(rows)[:9]} here {one.get('problem') or ''}"
                    )
        print(f"{same} of {same + len(differing)} judgements agree, on {chosen.tables} random tables")
        for line in differing[:40]:
            print(f"  {line}")


if __name__ == "__main__":
    main()

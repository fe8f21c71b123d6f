"""Rebuilds us-tech.parquet, and its hash in NOTICE, from the package bokeh_sampledata.

    pip install bokeh_sampledata
    python workbench/data/rebuild_us_tech.py

The numbers are taken over as they are; only the names of the columns and the file format change. Another
version of pyarrow may write the same table into other bytes.
"""

import hashlib
import importlib.util
import os
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SOURCE_SHA256 = "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd"
HERE = Path(__file__).parent


def main():
    package = importlib.util.find_spec("bokeh_sampledata")
    if package is None:
        raise SystemExit("bokeh_sampledata is not installed: pip install bokeh_sampledata")
    source = Path(package.submodule_search_locations[0], "_data", "stocks.csv.gz")
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise SystemExit(f"{source} has sha256 {found}, expected {SOURCE_SHA256}: another version of the data")

    frame = pd.read_csv(source)
    frame.columns = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_close"]
    columns = {
        "symbol": pa.array(frame["symbol"]).cast(pa.string()).dictionary_encode(),
        "date": pa.array(pd.to_datetime(frame["date"], format="%Y-%m-%d")).cast(pa.timestamp("s")),
        **{name: pa.array(frame[name]) for name in frame.columns[2:]},
    }
    target = HERE / "us-tech.parquet"
    temporary = target.with_suffix(".tmp")
    pq.write_table(pa.table(columns), temporary, compression="zstd", compression_level=19, write_statistics=False)
    os.replace(temporary, target)

    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    notice = HERE / "NOTICE"
    text, count = re.subn(r"(?m)^sha256: +\w*$", f"sha256:         {digest}", notice.read_text())
    if count != 1:
        raise SystemExit(f"{notice} has {count} lines 'sha256: ...', expected one")
    temporary.write_text(text)
    os.replace(temporary, notice)
    print(f"{target}: {len(frame)} rows, {target.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()

"""Where rows come from: each source returns a `datasets.DatasetDict` of the splits that it has.

The modules are named for what they read, the functions for the config's choice: a function and a
module of one name could not both be found under `finesweep.data.sources`.
"""

from finesweep.data.sources.columnar import arrow, parquet
from finesweep.data.sources.database import sql
from finesweep.data.sources.delimited import csv, tsv
from finesweep.data.sources.folders import text_folders
from finesweep.data.sources.frames import pandas, polars
from finesweep.data.sources.hub_datasets import hub, hub_commit
from finesweep.data.sources.json_files import json
from finesweep.data.sources.objects import python, torch_dataset

__all__ = [
    "arrow",
    "csv",
    "hub",
    "hub_commit",
    "json",
    "pandas",
    "parquet",
    "polars",
    "python",
    "sql",
    "text_folders",
    "torch_dataset",
    "tsv",
]

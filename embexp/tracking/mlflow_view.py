"""A saved view of MLflow's page: the verdict's columns, and charts with the headline metrics first.

MLflow keeps the views of an experiment in its tags. Versions that have no saved views ignore the tag.
"""

from __future__ import annotations

import base64
import json
import time
import zlib

NAME = "embexp"
VIEW_TAG = f"mlflow.sharedViewState.{NAME}"
COLUMNS = (
    "tags.`verdict`",
    "tags.`delta`",
    "tags.`interval`",
    "tags.`dataset`",
    "tags.`model`",
    "tags.`loss`",
    "tags.`retriever`",
)
SECTIONS = {
    "What tuning changed": ("delta", "delta_low", "delta_high"),
    "Tuned and untuned": (
        "tuned/ndcg_at_10",
        "untuned/ndcg_at_10",
        "tuned/accuracy_at_1",
        "untuned/accuracy_at_1",
    ),
    "With BM25": ("retriever/ndcg_at_10", "hybrid/ndcg_at_10", "bm25/ndcg_at_10"),
}
"""Section to the metrics that are drawn in it, a chart for each; empty charts are hidden."""


def view_tags() -> dict[str, str]:
    """Return the tag of an experiment that holds the view."""
    packed = base64.b64encode(zlib.compress(json.dumps(_state()).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": NAME, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    return {VIEW_TAG: json.dumps(view)}


def _state() -> dict[str, object]:
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunCharts": [
            _chart(metric, section) for section, metrics in SECTIONS.items() for metric in metrics
        ],
        "compareRunSections": [_section(name) for name in SECTIONS],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _chart(metric: str, section: str) -> dict[str, object]:
    return {
        "uuid": f"embexp {metric}",
        "type": "BAR",
        "runsCountToCompare": 10,
        "metricSectionId": f"embexp {section}",
        "deleted": False,
        "isGenerated": False,
        "displayName": metric,
        "metricKey": metric,
    }


def _section(name: str) -> dict[str, object]:
    return {
        "uuid": f"embexp {name}",
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }

"""The three summaries of a table of detections, as SQL: views of the database, and what reports ask.

Every query counts detections only; placeholder rows, which tell of chunks without any, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from badc_duckdb.columns import IS_DETECTION

__all__ = ["ACTIVITY", "CHUNKS", "QUERIES", "REPEATED", "TOTALS", "VIEWS", "create_views"]

VIEWS: Mapping[str, str] = {
    "label_summary": f"""
        SELECT label, coalesce(label_name, '') AS label_name, count(*) AS detections, avg(confidence) AS avg_confidence
        FROM detections WHERE {IS_DETECTION}
        GROUP BY ALL ORDER BY detections DESC, label, label_name""",
    "recording_summary": f"""
        SELECT recording_id, count(*) AS detections, avg(confidence) AS avg_confidence
        FROM detections WHERE {IS_DETECTION}
        GROUP BY ALL ORDER BY detections DESC, recording_id""",
    "timeline_summary": f"""
        SELECT CAST(coalesce(chunk_start_ms, 0) // {{bucket_ms}} AS BIGINT) AS bucket_index,
               min(coalesce(chunk_start_ms, 0)) AS bucket_start_ms,
               count(*) AS detections, avg(confidence) AS avg_confidence
        FROM detections WHERE {IS_DETECTION}
        GROUP BY bucket_index ORDER BY bucket_start_ms""",
}
"""Name and SQL of the views of a table ``detections``; averages are over detections."""

QUERIES: Mapping[str, str] = {
    "label_summary": """
        SELECT label, nullif(label_name, '') AS label_name, detections, avg_confidence
        FROM label_summary ORDER BY detections DESC, label NULLS LAST, label_name""",
    "recording_summary": """
        SELECT recording_id, detections, avg_confidence
        FROM recording_summary ORDER BY detections DESC, recording_id NULLS LAST""",
    "timeline_summary": """
        SELECT bucket_index, bucket_start_ms, detections, avg_confidence
        FROM timeline_summary ORDER BY bucket_start_ms, bucket_index""",
}
"""What reports read from each view: in a total order, and null instead of an empty text."""

CHUNKS = f"""
    SELECT chunk_id, chunk_start_ms, count(*) FILTER ({IS_DETECTION}) AS detections,
           avg(confidence) FILTER ({IS_DETECTION}) AS avg_confidence
    FROM detections WHERE status IS DISTINCT FROM 'failed' OR {IS_DETECTION}
    GROUP BY recording_id, chunk_id, chunk_start_ms
    ORDER BY chunk_start_ms NULLS FIRST, chunk_id NULLS FIRST, recording_id NULLS FIRST"""
"""Every chunk that was analysed, silent ones too. Chunks of one name in two recordings stay apart."""

TOTALS = f"""
    SELECT count(*) AS detections, count(DISTINCT label) AS label_count,
           count(DISTINCT recording_id) AS recording_count,
           min(chunk_start_ms) AS first_chunk_ms, max(chunk_start_ms) AS last_chunk_ms
    FROM detections WHERE {IS_DETECTION}"""
"""The figures of a report's ``summary.json``."""

ACTIVITY = f"""
    WITH heard AS (
        SELECT label, label_name, greatest(coalesce(chunk_start_ms, 0), 0) AS start_ms
        FROM detections WHERE {IS_DETECTION}
    ), axis AS (SELECT max(start_ms) + 1 AS length_ms FROM heard)
    SELECT label, label_name, CAST(start_ms * {{bins}} // length_ms AS INTEGER) AS bin, count(*) AS detections
    FROM heard, axis GROUP BY ALL"""
"""How often each label was heard, over the time axis that all recordings share."""

REPEATED = """
    SELECT recording_id, list_sort(list(DISTINCT badc_origin)) AS files FROM detections
    GROUP BY recording_id HAVING count(DISTINCT badc_origin) > 1 ORDER BY recording_id"""
"""Recordings of several files, whose detections are counted several times."""


def create_views(bucket_minutes: int) -> list[str]:
    """Return the statements that make the views.

    Parameters
    ----------
    bucket_minutes
        Width of the buckets of ``timeline_summary``.
    """
    bucket_ms = int(bucket_minutes) * 60_000
    return [f"CREATE VIEW {name} AS {query.format(bucket_ms=bucket_ms)}" for name, query in VIEWS.items()]

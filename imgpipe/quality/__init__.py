"""Quality of a result compared with its source: metrics, verdicts, quality.json, diff.png.

Start at :func:`imgpipe.quality.score.score`. Definitions, units and limits stand in ``docs/quality.md``.
"""

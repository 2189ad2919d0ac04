"""Whether a result still is the picture that went in: metrics, verdicts, quality.json, diff.png.

Start at :func:`imgpipe.quality.score.score`. Definitions, units and limits stand in ``docs/quality.md``.
"""

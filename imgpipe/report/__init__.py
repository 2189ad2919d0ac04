"""The report of a data set: one table, one page. Start at :func:`imgpipe.report.build.build_report`."""

"""The harness: it trains, measures, records and reports under one set of rules."""

from pipelines.common.imported import watch

watch("baselines", "dpap", "pipelines")

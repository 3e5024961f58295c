"""The harness: it trains, measures, records and reports under one set of rules."""

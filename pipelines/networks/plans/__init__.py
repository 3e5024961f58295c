"""Plans: the ways to compute a network. One is chosen per run (`pipelines.networks.plans.choice`).

All compute what the plan ``step`` computes, up to rounding and with one exception: in training, all
others take the statistics of batch norm over time and batch.
"""

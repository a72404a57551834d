"""How good predictions are: metrics, the decision each needs, and scores by cross-fitting."""

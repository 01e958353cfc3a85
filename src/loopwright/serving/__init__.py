"""Serving: one predictor behind every door, releases that are judged while they run, and a log of every prediction.

Reads registered versions and online features, answers requests, writes the prediction log and the releases.
"""

from loopwright.serving.deploy import OnlineDeployment, online

__all__ = ["OnlineDeployment", "online"]

"""Watching what is live, in four dimensions: system, model, data and business.

Reads predictions and labels, produces signals and incidents with their evidence; never trains, moves or decides. The
door opens only the light declarations; `loopwright.monitoring.monitor` is the room's main noun.
"""

from loopwright.monitoring.watch import DriftWindows, Kpi, LossWatch, Monitoring, kpi, monitoring

__all__ = ["DriftWindows", "Kpi", "LossWatch", "Monitoring", "kpi", "monitoring"]

"""The stream door: events in, predictions out, in order, each answered exactly once.

Reads a topic of the event log, asks the versions in force, and writes predictions, dead letters and prediction records
in the transaction that moves its place (`loopwright.core.storage.exchange`).
"""

from loopwright.serving.stream.declaration import StreamDeployment, stream

__all__ = ["StreamDeployment", "stream"]

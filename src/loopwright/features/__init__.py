"""Features: from snapshots to what a model learns from and is asked with.

Declarations (views, transforms, labels, splits), the point-in-time join *as known at* the example's moment, training
sets with a sealed holdout, the online store, and the request-time assembly. Reads snapshots; never writes a dataset.
This door holds the light nouns only: a declaration imports no engine. What works on data is imported from its file:
``store``, ``examples``, ``assembly``, ``online``.
"""

from loopwright.features.field import Field
from loopwright.features.label import Label
from loopwright.features.on_demand import OnDemand
from loopwright.features.split import Split
from loopwright.features.view import FeatureView

__all__ = ["FeatureView", "Field", "Label", "OnDemand", "Split"]

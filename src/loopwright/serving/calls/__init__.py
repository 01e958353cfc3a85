"""A call on its way: admitted, batched, computed, recorded, answered."""

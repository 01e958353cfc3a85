"""Delivery-time estimates: the whole loop in one file."""

import ibis

import loopwright as lw

loop = lw.Loop("deliveries")

orders = loop.dataset(  # 1 · data collection
    "orders",
    source=lw.files("data/orders/*.parquet"),
    event_time="placed_at",
    key="order_id",
    contract=[
        lw.column("order_id", "string"),
        lw.column("courier_id", "string"),
        lw.column("distance_km", "float", between=(0, 200)),
        lw.column("rain_mm", "float", at_least=0),
        lw.column("city", "category", among=["Oslo", "Bergen"]),
        lw.column("placed_at", "timestamp"),
        lw.column("minutes", "float", at_least=0, required=False),
        lw.unique("order_id"),
    ],
    description="Orders of a delivery service; minutes are known two hours after an order was placed.",
)


@loop.features(orders, entity="courier_id", ttl="7d")  # 2 · feature engineering
def courier_pace(orders):
    """Minutes per kilometre over the courier's last 20 orders."""
    last_20 = ibis.window(group_by="courier_id", order_by="placed_at", preceding=20, following=-1)
    return orders.select("courier_id", "placed_at", pace=(orders.minutes / orders.distance_km).mean().over(last_20))


@loop.transform(orders.placed_at)
def hour(placed_at):
    """Hour of the day with its fraction, in UTC."""
    import numpy as np

    return (np.asarray(placed_at).astype("datetime64[s]").astype("int64") % 86_400) / 3_600


@loop.model(  # 3 · training and evaluation
    "eta",
    label=lw.label(orders.minutes, arrives_after="2h"),
    features=[orders["distance_km", "rain_mm", "city"], hour, courier_pace],
    holdout=lw.latest("2d"),
    metrics=["mae", "rmse"],
    search=lw.search(trials=4, learning_rate=lw.uniform(0.03, 0.3, log=True), max_leaf_nodes=lw.integer(8, 40)),
    gates=[lw.beats_champion("mae"), lw.at_most("mae", 6.0), lw.every_slice("city", "mae", within=0.5)],
)
def eta(train: lw.TrainingSet, params: lw.Params, seed: int):
    """Gradient boosting on distance, rain, city, hour and the courier's pace."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**params, categorical_features="from_dtype", random_state=seed)
    return model.fit(train.X, train.y)


loop.deploy(eta, online=lw.online(shadow="1h", canary=[5, 25, 100], min_requests_per_step=20))  # 4 · deployment
loop.monitor(  # 5 · monitoring
    eta, latency_p99="200ms", errors=0.01, drift="daily", business=lw.kpi("refund_rate", at_most=0.02)
)
loop.retrain(  # 6 · the way back
    eta,
    on=[lw.schedule("0 3 1 * *"), lw.loss_above_reference(fresh_rows=1_500), lw.new_rows(50_000)],
    approval="automatic",
)
loop.workload(requests_per_day=1_000_000, peak_rps=50, latency_p99="200ms", retrain="monthly")  # 7 · the plan

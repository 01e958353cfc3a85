"""Handwritten digits: an image classification service, the whole loop in one file."""

import io

import numpy as np
from PIL import Image

import loopwright as lw

loop = lw.Loop("digits")

digits = loop.dataset(  # 1 · data collection
    "digits",
    source=lw.files("data/images/*.png", labels="data/labels-*.csv"),
    event_time="taken_at",
    key="file",
    contract=[
        lw.column("image", "image"),
        lw.column("label", "int", between=(0, 9)),
        lw.column("taken_at", "timestamp"),
    ],
    description="Pictures of single digits, labelled by people some time after they were taken.",
)


@loop.transform(digits.image)  # 2 · feature engineering
def pixels(images):
    """Decode a picture, shrink it to 8 x 8 and scale it to 0…1: 64 numbers."""
    decoded = [Image.open(io.BytesIO(image)).convert("L").resize((8, 8), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32).reshape(64) / 255 for image in decoded])


@loop.model(  # 3 · training and evaluation
    "digit",
    label=lw.label(digits.label, arrives_after="10m"),
    features=[pixels],
    holdout=lw.latest("2h"),
    metrics=["accuracy", "f1"],
    search=lw.search(trials=4, max_depth=lw.integer(8, 20), max_features=lw.uniform(0.1, 0.5)),
    params={"n_estimators": 60},
    gates=[lw.beats_champion("accuracy"), lw.at_least("accuracy", 0.7)],
)
def digit(train: lw.TrainingSet, params: lw.Params, seed: int):
    """A forest of extremely randomised trees on the 64 pixels."""
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(**params, random_state=seed, n_jobs=2).fit(train.X, train.y)


loop.deploy(  # 4 · deployment
    digit,
    online=lw.online(canary=[25, 100], min_requests_per_step=40, step_time="0s"),
)
loop.monitor(digit, latency_p99="200ms", errors=0.01, drift="100 rows")  # 5 · monitoring
loop.retrain(  # 6 · the way back
    digit,
    on=[lw.schedule("0 3 1 * *"), lw.loss_above_reference(fresh_rows=300)],
    approval="automatic",
    cooldown="0s",
)
loop.workload(  # 7 · the plan
    requests_per_day=1_000_000, peak_rps=50, latency_p99="200ms", retrain="monthly", payload="100KB"
)

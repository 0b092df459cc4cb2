"""Classifiers that tests train in a second or two."""

import minigrad as mg
from minigrad import optim
from minigrad.classifier import Classifier
from minigrad.models import MODELS


def trained(name, data, train, epochs):
    """One of `mg.models`, trained on a split of the set called `data`."""
    mg.manual_seed(0)
    classifier = Classifier(name, train.images.shape[1:], tuple("0123456789"), data)
    batches = mg.data.Batches(train, MODELS[name].batch_size)
    optimizer = optim.Adam(classifier.model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=epochs * len(batches))
    mg.training.fit(classifier.model, batches, epochs=epochs, optimizer=optimizer, scheduler=schedule, progress=False)
    return classifier

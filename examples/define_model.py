"""A model of your own: a convolution, pooling and a dense layer, trained on handwritten digits in a few seconds.

python examples/define_model.py
"""

import minigrad as mg
from minigrad import functional as F, nn, optim


class Reader(nn.Module):
    """Reads a digit from an image of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        # What is assigned here is registered: model.parameters() finds the weights of both layers.
        self.conv = nn.Conv2d(1, 32, kernel_size=3, padding=1)  # 32 filters of 3 x 3 look at every place
        self.dense = nn.Linear(32 * 4 * 4, 10)  # a score for each of the ten digits

    def forward(self, x):  # x: (N, 1, 8, 8), N images with one channel
        x = F.relu(self.conv(x))  # (N, 32, 8, 8)
        x = F.max_pool2d(x, 2)  # (N, 32, 4, 4)
        return self.dense(x.flatten(1))  # (N, 10)


mg.manual_seed(0)  # the same first weights in every run
data = mg.data.load("digits")
model = Reader()
optimizer = optim.Adam(model.parameters(), lr=0.003)
batches = mg.data.Batches(data.train, batch_size=64)  # shuffled anew in every epoch

for epoch in range(1, 21):
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)  # forward: every operation is recorded
        optimizer.zero_grad()  # forget the last batch's gradients
        loss.backward()  # backward: gradients of the loss by every weight
        optimizer.step()  # a small step downhill
    print(f"epoch {epoch:2}  loss of the last batch {loss.item():.4f}")

with mg.no_grad():  # nothing will be differentiated, so nothing is recorded
    predicted = model(mg.tensor(data.test.images)).argmax(1)
accuracy = (predicted.numpy() == data.test.labels).mean()
print(f"test accuracy: {accuracy:.4f}")

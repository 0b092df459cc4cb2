"""A page to draw digits on, and to see what each layer of a network makes of them.

    python examples/draw_digits.py
    python examples/draw_digits.py --model runs/mnist-cnn/model.safetensors

Without a model, a small one is trained on the embedded digits first, which takes less than a minute, and kept; one that
was trained on MNIST (`python examples/train_digits.py --data mnist --model cnn`) reads handwriting far better.

The page is served to this machine alone, and asks for nothing beyond it. Needs
`python -m pip install "flask" "waitress" "pillow"`, and "scikit-learn" and "tqdm" where a model is to be trained.
"""

import argparse
import base64
import logging
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Any

import flask
import numpy as np
import waitress
from werkzeug.exceptions import HTTPException

import minigrad as mg
from minigrad import nn, optim
from minigrad.classifier import Classifier
from minigrad.data.drawn import frame_digit, framing_of
from minigrad.models import MODELS

BEST, OWN = Path("runs/mnist-cnn/model.safetensors"), Path("runs/draw/model.safetensors")
SIDE = 280  # pixels of a drawing each way, a byte for each
EPOCHS = 8
HEADERS = {
    # Nothing but what is served here: no other machine can be asked, and no text can become a script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def main(arguments: list[str] | None = None) -> int:
    parser = command_line()
    args = parser.parse_args(arguments)
    try:
        with socket.create_server(("127.0.0.1", args.port)) as listener:
            classifier = Classifier.load(args.model) if args.model else at_hand()
            server = serve(classifier, listener)
            url = f"http://127.0.0.1:{server.effective_port}/"
            print(f"draw at {url} (Ctrl-C ends)", flush=True)
            if not args.no_browser:
                webbrowser.open(url)
            server.run()  # until Ctrl-C
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:  # in training
        return 130
    return 0


def serve(classifier: Classifier, listener: socket.socket) -> Any:
    """A server at a listening socket; `run()` starts it."""
    look(classifier, np.zeros((1, *classifier.shape), np.float32))  # compiles, before anybody waits for it
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that a drawing waits for another is no news
    # Hooks and random numbers belong to the process: one thread looks at one drawing at a time.
    limit = SIDE * SIDE + 1  # the first size that is refused
    return waitress.create_server(application(classifier), sockets=[listener], threads=1, max_request_body_size=limit)


def application(classifier: Classifier) -> flask.Flask:
    """The page at `/`, what it is about at `/model`, and at `/look` what the network makes of a drawing."""
    app = flask.Flask(__name__, static_folder="draw_digits", static_url_path="")
    # A page elsewhere whose name is made to point here (DNS rebinding) sends its own name as the host.
    app.config.update(TRUSTED_HOSTS=["127.0.0.1", "localhost"], MAX_CONTENT_LENGTH=SIDE * SIDE)
    framing = framing_of(classifier.data)

    @app.get("/")
    def page() -> flask.Response:
        return app.send_static_file("index.html")

    @app.get("/model")
    def model() -> dict[str, Any]:
        about = {"name": classifier.name, "data": classifier.data, "classes": classifier.classes}
        return about | {"shape": classifier.shape, "side": SIDE}

    @app.post("/look")
    def looked() -> dict[str, Any]:
        drawing = flask.request.get_data()
        if len(drawing) != SIDE * SIDE:
            flask.abort(400, f"need {SIDE} x {SIDE} bytes, got {len(drawing)}")
        try:
            pixels = np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE)
            image = frame_digit(pixels, classifier.shape, framing)
        except ValueError as error:
            flask.abort(422, str(error))
        return look(classifier, image[None])

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[dict[str, str], int | None]:
        return {"error": error.description or error.name}, error.code

    @app.after_request
    def guarded(response: flask.Response) -> flask.Response:
        response.headers.update(HEADERS)
        return response

    return app


def look(classifier: Classifier, image: np.ndarray) -> dict[str, Any]:
    """What the network makes of one image (1, C, H, W): probabilities, layers, and where it sees each class."""
    model = classifier.model
    modules = dict(model.named_modules())
    layers = [
        {"name": type(modules[path.partition(" ")[0]]).__name__, "path": path, **packed(output[0])}
        for path, output in mg.interpret.activations(model, image).items()
        if not isinstance(modules[path.partition(" ")[0]], nn.Flatten | nn.Dropout)  # show what the layer before gave
    ]
    seen: dict[str, Any] = {
        "probabilities": classifier.probabilities(image)[0].tolist(),
        "image": packed(image[0]),
        "layers": layers,
    }
    try:
        seen["class_maps"] = packed(mg.interpret.class_activation_maps(model, image)[0])
    except ValueError as error:
        seen["no_class_maps"] = str(error).partition(": ")[2]  # without the name of the function
    return seen


def packed(maps: np.ndarray) -> dict[str, Any]:
    """Maps (C, H, W) or units (C,) for the page: a signed byte each, 127 for the largest absolute value."""
    maps = maps.reshape(*maps.shape, *[1] * (3 - maps.ndim))
    largest = float(np.abs(maps).max())
    steps = np.rint(maps * (127 / (largest or 1))).astype(np.int8)
    return {"shape": maps.shape, "largest": largest, "values": base64.b64encode(steps.tobytes()).decode()}


def at_hand() -> Classifier:
    """The best classifier there is, or else a new one, trained on the embedded digits."""
    for path in (BEST, OWN):
        if path.exists():
            print(f"model: {path}")
            return Classifier.load(path)
    print(f"no model yet: training a small one on the embedded digits, to be kept in {OWN}", flush=True)
    data = mg.data.load("digits").resize(28)
    mg.manual_seed(0)
    classifier = Classifier("cnn", (1, 28, 28), data.classes, data.name)
    batches = mg.data.Batches(data.train, MODELS["cnn"].batch_size)
    optimizer = optim.Adam(classifier.model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=EPOCHS * len(batches))
    mg.training.fit(classifier.model, batches, epochs=EPOCHS, optimizer=optimizer, scheduler=schedule)
    OWN.parent.mkdir(parents=True, exist_ok=True)
    classifier.save(OWN)
    return classifier


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, metavar="FILE", help=f"a trained classifier (default: {BEST}, or else one made for this)")
    add("--port", type=port, default=0, help="default: one that is free")
    add("--no-browser", action="store_true", help="print the address, and open no browser")
    return parser


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"need 0 to 65535, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
